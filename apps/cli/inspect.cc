// dsa inspect: what a checkpoint holds, what it costs to run, what is wrong with it.
#include "dsa/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dsa/chat.h"
#include "dsa/engine.h"
#include "dsa/tokenizer.h"

#include "cli/command.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::Inspection;
using dsa::ModelConfig;
using dsa::Status;
using dsa::StatusCode;
using dsa::TensorInfo;

constexpr const char* kFooter =
    "Exits with 1 when the checkpoint cannot be run, and lists the problems.\n"
    "\n"
    "Examples:\n"
    "  dsa inspect models/dsa-13m\n"
    "  dsa inspect models/dsa-13m --ctx 1024 --batch 4 --kv-cache bf16 --index-cache bf16\n"
    "  dsa inspect models/dsa-13m/model.safetensors --tensors\n"
    "  dsa inspect DIR --json";

struct InspectOptions {
  std::string path;
  dsa::ConfigOptions config;
  bool tensors = false;
  int64_t ctx = 0;  // 0: the model's
  int64_t batch = 1;
  dsa::CacheFormat kv_cache = dsa::CacheFormat::kFp8;
  dsa::CacheFormat index_cache = dsa::CacheFormat::kFp8;
  bool json = false;
};

// "model.layers.12.mlp.experts.3.up_proj.weight" -> "model.layers.*.mlp.experts.*.up_proj.weight"
std::string kind_of(const std::string& name) {
  std::string kind;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    if (!kind.empty()) kind += '.';
    kind += number ? "*" : part;
    begin = end + 1;
  }
  return kind;
}

// Names come from the file, and may hold anything.
std::string for_table(const std::string& text) {
  return one_line(fmt::format("{:.200}", text));
}

struct Row {  // of the tensor table
  std::string name;
  std::string dtype;
  std::string shape;
  int64_t n_tensors = 0;
  int64_t bytes = 0;
};

std::vector<Row> tensor_rows(const std::vector<TensorInfo>& tensors, bool each) {
  std::vector<Row> rows;
  std::map<std::string, size_t> known;
  for (const TensorInfo& tensor : tensors) {
    const Row row{for_table(each ? tensor.name : kind_of(tensor.name)), for_table(tensor.dtype),
                  shape_text(tensor.shape), 1, tensor.bytes};
    const auto [at, added] = known.emplace(row.name + row.dtype + row.shape, rows.size());
    if (added) {
      rows.push_back(row);
    } else {
      ++rows[at->second].n_tensors;
      rows[at->second].bytes += row.bytes;
    }
  }
  return rows;
}

void print_tensors(const Inspection& found, bool each) {
  const auto rows = tensor_rows(found.tensors, each);
  size_t widest = 5;
  for (const Row& row : rows)
    widest = std::max(widest, row.shape.size());
  print(fmt::format("\nTensors: {} in {}, {} parameters\n\n",
                    group_digits(static_cast<int64_t>(found.tensors.size())),
                    format_bytes(found.total_bytes), group_digits(found.n_parameters)));
  print(
      fmt::format("{:>6}  {:<9} {:<{}}  {:>9}  name\n", "count", "type", "shape", widest, "size"));
  for (const Row& row : rows) {
    print(fmt::format("{:>6}  {:<9} {:<{}}  {:>9}  {}\n", group_digits(row.n_tensors), row.dtype,
                      row.shape, widest, format_bytes(row.bytes), row.name));
  }
}

std::string experts_text(const ModelConfig& config) {
  if (config.moe.n_experts == 0) return "none";
  return fmt::format("{} routed, {} shared, {} per token, {} wide", config.moe.n_experts,
                     config.moe.n_shared_experts, config.moe.n_experts_per_token,
                     group_digits(config.moe.intermediate_size));
}

int64_t n_moe_layers(const ModelConfig& config) {
  int64_t n = 0;
  for (int64_t layer = 0; layer < config.n_layers; ++layer)
    n += config.is_moe_layer(layer) ? 1 : 0;
  return n;
}

int64_t n_full_indexers(const ModelConfig& config) {
  return std::count(config.indexer.layers.begin(), config.indexer.layers.end(),
                    dsa::IndexerKind::kFull);
}

std::string rope_text(const ModelConfig& config) {
  std::string text = fmt::format("theta {:g}", config.rope.theta);
  if (config.rope.scaling == dsa::RopeScaling::kLinear) {
    return text + fmt::format(", linear x{:g}", config.rope.factor);
  }
  if (!config.yarn_active()) return text;
  return text + fmt::format(", YaRN x{:g} from {} tokens", config.rope.factor,
                            group_digits(config.rope.original_max_position));
}

void print_config(const ModelConfig& config, bool chats) {
  const auto line = [](const char* what, const std::string& value) {
    print(fmt::format("{:<14} {}\n", what, value));
  };
  line("model", config.model_type);
  line("layers", fmt::format("{} ({} dense, {} mixture of experts)", config.n_layers,
                             config.n_layers - n_moe_layers(config), n_moe_layers(config)));
  line("hidden", fmt::format("{}, dense MLP {}", group_digits(config.hidden_size),
                             group_digits(config.intermediate_size)));
  line("experts", experts_text(config));
  line("attention", fmt::format("{} heads, latent {} + {} rope, q-lora {}, nope {}, v {}",
                                config.n_heads, config.kv_lora_rank, config.qk_rope_head_dim,
                                config.q_lora_rank, config.qk_nope_head_dim, config.v_head_dim));
  line("indexer",
       fmt::format("{} heads x {}, selects {} tokens, runs in {} of {} layers",
                   config.indexer.n_heads, config.indexer.head_dim,
                   group_digits(config.indexer.top_k), n_full_indexers(config), config.n_layers));
  line("rope", rope_text(config));
  line("vocabulary", group_digits(config.vocab_size));
  line("context", group_digits(config.max_position));
  line("weights", config.fp8_weights ? "fp8, blocks of 128 x 128" : "as stored");
  line("chat", chats ? "DeepSeek-V3.2's encoding" : "no encoding");
}

// Tokens that fit the pages of one sequence.
int64_t whole_pages(const InspectOptions& options, int64_t max_position) {
  const int64_t ctx = options.ctx > 0 ? options.ctx : max_position;
  return (ctx + dsa::kDefaultPageTokens - 1) / dsa::kDefaultPageTokens * dsa::kDefaultPageTokens;
}

dsa::EngineOptions cache_options(const InspectOptions& options, const ModelConfig& config) {
  dsa::EngineOptions out;
  out.kv_cache = options.kv_cache;
  out.index_cache = options.index_cache;
  out.cache_tokens = whole_pages(options, config.max_position) * options.batch;
  return out;
}

struct Need {  // bytes to run
  dsa::CacheEstimate cache;
  int64_t ctx = 0;
  int64_t weights = 0;
  int64_t total() const { return weights + cache.latent_bytes + cache.index_bytes; }
};

Need estimate(const InspectOptions& options, const Inspection& found) {
  Need need;
  need.cache = dsa::estimate_cache(found.config, cache_options(options, found.config));
  need.ctx = options.ctx > 0 ? options.ctx : found.config.max_position;
  need.weights = found.total_bytes;
  return need;
}

void print_need(const InspectOptions& options, const Need& need) {
  print(fmt::format("\nMemory for {} x {} tokens\n\n", options.batch, group_digits(need.ctx)));
  const auto line = [](const char* what, int64_t bytes, const std::string& note) {
    print(fmt::format("{:<14} {:>9}{}\n", what, format_bytes(bytes), note));
  };
  const auto per_token = [](dsa::CacheFormat format, int64_t bytes) {
    return fmt::format("  {}, {} bytes per token and layer", cache_format_name(format),
                       group_digits(bytes));
  };
  line("weights", need.weights, "");
  line("latent cache", need.cache.latent_bytes,
       per_token(options.kv_cache, need.cache.latent_bytes_per_token_layer));
  line("index cache", need.cache.index_bytes,
       per_token(options.index_cache, need.cache.index_bytes_per_token_layer));
  line("total", need.total(), "  and some scratch");
}

void print_list(const char* title, const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  print(fmt::format("\n{} ({})\n\n", title, lines.size()));
  for (const std::string& entry : lines)
    print(fmt::format("  {}\n", one_line(entry)));
}

Json config_json(const ModelConfig& config) {
  return {{"model_type", config.model_type},
          {"n_layers", config.n_layers},
          {"n_moe_layers", n_moe_layers(config)},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"n_experts", config.moe.n_experts},
          {"n_experts_per_token", config.moe.n_experts_per_token},
          {"n_heads", config.n_heads},
          {"q_lora_rank", config.q_lora_rank},
          {"kv_lora_rank", config.kv_lora_rank},
          {"qk_nope_head_dim", config.qk_nope_head_dim},
          {"qk_rope_head_dim", config.qk_rope_head_dim},
          {"v_head_dim", config.v_head_dim},
          {"index_n_heads", config.indexer.n_heads},
          {"index_head_dim", config.indexer.head_dim},
          {"index_topk", config.indexer.top_k},
          {"index_layers", n_full_indexers(config)},
          {"vocab_size", config.vocab_size},
          {"max_position", config.max_position},
          {"yarn", config.yarn_active()},
          {"fp8_weights", config.fp8_weights}};
}

Json memory_json(const InspectOptions& options, const Need& need) {
  return {{"ctx", need.ctx},
          {"batch", options.batch},
          {"kv_cache", cache_format_name(options.kv_cache)},
          {"index_cache", cache_format_name(options.index_cache)},
          {"latent_bytes_per_token_layer", need.cache.latent_bytes_per_token_layer},
          {"index_bytes_per_token_layer", need.cache.index_bytes_per_token_layer},
          {"weight_bytes", need.weights},
          {"latent_cache_bytes", need.cache.latent_bytes},
          {"index_cache_bytes", need.cache.index_bytes},
          {"total_bytes", need.total()}};
}

void print_document(const InspectOptions& options, const Inspection& found) {
  Json document = {{"path", options.path},
                   {"n_parameters", found.n_parameters},
                   {"total_bytes", found.total_bytes},
                   {"problems", found.problems},
                   {"unused", found.unused},
                   {"notes", found.notes}};
  if (found.has_config) {
    document.set("config", config_json(found.config));
    document.set("memory", memory_json(options, estimate(options, found)));
  }
  auto tensors = Json::array();
  for (const TensorInfo& tensor : found.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", tensor.dtype},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes},
                       {"file", tensor.file}});
  }
  document.set("tensors", std::move(tensors));
  print_json(document);
}

void check_batch(const InspectOptions& options, int64_t max_position) {
  const int64_t ctx = whole_pages(options, std::max<int64_t>(max_position, 1));
  if (options.batch > kLargestCount / ctx) {
    throw UsageError("--batch",
                     fmt::format("{} sequences of {} tokens, want at most {} tokens together",
                                 options.batch, ctx, kLargestCount));
  }
}

// Only text needs the tokenizer, and only chats its encoding: notes, no problems. Whether there can
// be chats.
bool check_tokenizer(const InspectOptions& options, Inspection& found) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(options.path, ignored)) return false;
  const auto tokenizer = dsa::Tokenizer::open(options.path);
  if (!tokenizer.ok()) {
    found.notes.push_back("only logits and verify can be run: " + tokenizer.status().message());
    return false;
  }
  if (!found.has_config) return false;
  const Status chat = dsa::check_chat_encoding(found.config.model_type, *tokenizer);
  if (!chat.ok()) found.notes.push_back("no chats: " + chat.message());
  return chat.ok();
}

Status inspect(const InspectOptions& options) {
  auto found = dsa::inspect_checkpoint(options.path, options.config);
  if (!found.ok()) return found.status();
  const bool chats = check_tokenizer(options, *found);
  check_batch(options, found->config.max_position);
  if (options.json) {
    print_document(options, *found);
  } else {
    if (found->has_config) print_config(found->config, chats);
    print_tensors(*found, options.tensors);
    if (found->has_config) print_need(options, estimate(options, *found));
    std::vector<std::string> unused;
    std::transform(found->unused.begin(), found->unused.end(), std::back_inserter(unused),
                   for_table);
    print_list("Not used", unused);
    print_list("Notes", found->notes);
    print_list("Problems", found->problems);
  }
  if (found->problems.empty()) return {};
  const size_t n = found->problems.size();
  return Status(StatusCode::kCorruption,
                n == 1 ? fmt::format("{}: {}", options.path, found->problems.front())
                       : fmt::format("{}: {} problems", options.path, n));
}

// Memory is estimated from a configuration, which one file does not have.
void refuse_options_of_a_directory(const App& app, const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return;
  for (const std::string& name : app.given()) {
    if (name != "--ctx" && name != "--batch" && name != "--kv-cache" && name != "--index-cache" &&
        name != "--ignore-unknown-fields") {
      continue;
    }
    throw UsageError(name, "has no effect on one file, want a checkpoint directory");
  }
}

}  // namespace

Action add_inspect(App& app) {
  auto options = std::make_shared<InspectOptions>();
  app.add_option("PATH", options->path, "Checkpoint directory, or one safetensors file").required();
  app.add_flag("--tensors", options->tensors, "List every tensor instead of one line per kind");
  app.add_option("--ctx", options->ctx,
                 "Context in tokens to estimate memory for (default: the model's)")
      .type_name("N")
      .check(whole_number(1));
  app.add_option("--batch", options->batch, "Number of sequences of that context (default 1)")
      .type_name("N")
      .check(whole_number(1));
  add_cache_options(app, options->kv_cache, options->index_cache);
  add_config_options(app, options->config);
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options, app] {
    refuse_options_of_a_directory(app, options->path);
    return inspect(*options);
  };
}

}  // namespace cli
