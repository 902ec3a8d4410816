#include "trainer/start.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "dsa/token_data.h"

#include "common/status_macros.h"
#include "data/control_ids.h"
#include "digest/sha256.h"
#include "io/mapped_file.h"
#include "io/open_source.h"
#include "trainer/mla_source.h"

namespace dsa::trainer {
namespace {

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// The first key that was set and begins with `prefix`.
const std::string* given_with(const TrainConfig& config, std::string_view prefix) {
  for (const std::string& key : config.given) {
    if (std::string_view(key).starts_with(prefix)) return &key;
  }
  return nullptr;
}

backprop::TrainStage stage_of(const std::string& name) {
  if (name == "warmup") return backprop::TrainStage::kWarmup;
  return name == "sparse" ? backprop::TrainStage::kSparse : backprop::TrainStage::kPretrain;
}

IndexerConfig new_indexer(const TrainConfig& config, int64_t n_layers) {
  IndexerConfig indexer;
  indexer.n_heads = config.indexer.heads;
  indexer.head_dim = config.indexer.head_dim;
  indexer.top_k = std::max<int64_t>(config.data.context / 8, 1);
  indexer.layers.assign(static_cast<size_t>(n_layers), IndexerKind::kFull);
  return indexer;
}

ModelConfig new_model(const TrainConfig& config, const Tokenizer& tokenizer) {
  const TrainConfig::Model& m = config.model;
  ModelConfig out;
  out.model_type = "deepseek_v32";
  out.vocab_size = tokenizer.vocab_size();
  out.hidden_size = m.hidden;
  out.intermediate_size = m.intermediate;
  out.n_layers = m.layers;
  out.n_heads = m.heads;
  out.q_lora_rank = m.q_lora_rank;
  out.kv_lora_rank = m.kv_lora_rank;
  out.qk_nope_head_dim = m.qk_nope_head_dim;
  out.qk_rope_head_dim = m.qk_rope_head_dim;
  out.v_head_dim = m.v_head_dim;
  out.max_position = m.max_position > 0 ? m.max_position : config.data.context;
  out.tie_word_embeddings = m.tie_embeddings;
  out.rope.theta = m.rope_theta;
  out.moe.n_experts = m.experts;
  out.moe.n_shared_experts = m.shared_experts;
  out.moe.n_experts_per_token = m.experts_per_token;
  out.moe.intermediate_size = m.expert_intermediate;
  out.moe.n_groups = m.groups;
  out.moe.top_k_groups = m.top_groups;
  out.moe.routed_scaling = m.routed_scaling;
  out.moe.first_dense_layers = m.dense_layers;
  out.indexer = new_indexer(config, m.layers);
  const ControlIds marks = control_ids(tokenizer);
  if (marks.begin) out.bos_token_id = *marks.begin;
  if (marks.end) out.eos_token_ids = {*marks.end};
  return out;
}

// Sizes and bytes of the configuration and the weights, wherever they lie.
Result<std::string> checksum_of(const OpenedSource& source) {
  std::vector<std::string> paths = {source.config_path};
  for (const SourceFile& file : source.tensors->files())
    paths.push_back(file.path);
  std::sort(paths.begin() + 1, paths.end());
  Sha256 sum;
  for (const std::string& path : paths) {
    DSA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
    const auto bytes = file.bytes();
    sum.add(fmt::format("{} ", bytes.size()));
    sum.add(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  }
  return to_hex(sum.finish());
}

Status use_checkpoint(const TrainConfig& config, RunStart* run) {
  DSA_ASSIGN_OR_RETURN(OpenedSource source, open_model_source(config.init));
  DSA_ASSIGN_OR_RETURN(run->config, parse_mla_config(source.config_text, source.config_path));
  if (const std::string* const key = given_with(config, "model.")) {
    return invalid_argument("{}: the model comes from init, {}: want no [model] with it", *key,
                            config.init);
  }
  DSA_ASSIGN_OR_RETURN(run->init_checksum, checksum_of(source));
  run->source = std::move(source.tensors);
  ModelConfig& model = run->config;
  if (model.fp8_weights) {
    return unsupported("{}: weights in e4m3: convert them first, dsa convert {} OUT --type bf16",
                       config.init, config.init);
  }
  if (model.q_lora_rank == 0) {
    DSA_ASSIGN_OR_RETURN(run->source, MlaSource::create(std::move(run->source), &model));
  }
  const bool had_indexer = model.indexer.n_heads > 0;
  if (!had_indexer || config.indexer.renew) {
    if (!had_indexer) model.model_type = "deepseek_v32";
    model.indexer = new_indexer(config, model.n_layers);
    run->new_indexers = true;
    return {};
  }
  for (const char* const name : {"indexer.heads", "indexer.head_dim"}) {
    if (given_with(config, name) != nullptr) {
      return invalid_argument("{}: {} has indexers: want indexer.renew = true with it, or no {}",
                              name, config.init, name);
    }
  }
  return {};
}

// The configuration must be one that `dsa run` takes; its reader knows every rule.
Status check_model(const TrainConfig& config, RunStart* run) {
  ModelConfig& model = run->config;
  if (config.indexer.top_k > 0) model.indexer.top_k = config.indexer.top_k;
  model.n_nextn_layers = 0;
  const char* const name = config.init.empty() ? "[model] and [indexer]" : config.init.c_str();
  DSA_ASSIGN_OR_RETURN(model, parse_model_config(model_config_json(model, "bfloat16"), name));
  if (config.data.context > model.max_position) {
    return invalid_argument("data.context: {}, want at most the model's max_position, {}",
                            config.data.context, model.max_position);
  }
  if (run->tokenizer->vocab_size() > model.vocab_size) {
    return invalid_argument("{}: {} tokens, want at most the model's {}", run->tokenizer_dir,
                            run->tokenizer->vocab_size(), model.vocab_size);
  }
  return {};
}

Status open_tokenizer(const TrainConfig& config, RunStart* run) {
  run->tokenizer_dir = config.data.tokenizer.empty() ? config.init : config.data.tokenizer;
  if (run->tokenizer_dir.empty()) {
    return invalid_argument("data.tokenizer: absent, want a folder with tokenizer.json");
  }
  DSA_ASSIGN_OR_RETURN(Tokenizer tokenizer,
                       Tokenizer::open(run->tokenizer_dir + "/tokenizer.json"));
  run->tokenizer = std::make_unique<Tokenizer>(std::move(tokenizer));
  return {};
}

Status open_data(const TrainConfig& config,
                 const std::function<bool(int64_t, int64_t)>& packing,
                 RunStart* run) {
  const TrainConfig::Data& data = config.data;
  if (data.text.empty() && data.tokens.empty()) {
    return invalid_argument("data: want data.text, data.tokens or both");
  }
  const std::string path = data.tokens.empty() ? config.output + "/tokens.bin" : data.tokens;
  run->tokens_path = path;
  run->packed = !data.text.empty() && !exists(path);
  if (run->packed) {
    DSA_ASSIGN_OR_RETURN(const std::vector<std::string> files, list_text_files(data.text));
    DSA_RETURN_IF_ERROR(
        write_token_file(*run->tokenizer, files, data.separator, path, packing).status());
  }
  DSA_ASSIGN_OR_RETURN(TokenFile tokens, TokenFile::open(path));
  if (tokens.vocabulary_hash() != vocabulary_hash(*run->tokenizer)) {
    return invalid_argument("{}: made with another tokenizer than {}: pack the text again", path,
                            run->tokenizer_dir);
  }
  run->tokens = std::make_unique<TokenFile>(std::move(tokens));
  DSA_ASSIGN_OR_RETURN(
      run->split, split_documents(*run->tokens, data.held_out, static_cast<uint64_t>(config.seed)));
  return {};
}

// Keys that another stage, or a run from a checkpoint, would read.
Status check_effects(const TrainConfig& config) {
  struct Rule {
    const char* key;
    bool has_effect;
    const char* want;
  };
  const bool warmup = config.stage == "warmup";
  for (const Rule& rule : {
           Rule{"indexer.renew", !config.init.empty(), "init with it"},
           Rule{"optimizer.indexer_learning_rate", config.stage == "sparse", "stage \"sparse\""},
           Rule{"optimizer.expert_bias_rate", !warmup, "another stage than \"warmup\""},
           Rule{"precision.recompute", !warmup, "another stage than \"warmup\""},
       }) {
    if (rule.has_effect || given_with(config, rule.key) == nullptr) continue;
    return invalid_argument("{}: has no effect here: want {}, or no {}", rule.key, rule.want,
                            rule.key);
  }
  return {};
}

}  // namespace

Result<RunStart> prepare_run(const TrainConfig& config,
                             const std::function<bool(int64_t, int64_t)>& packing) {
  RunStart run;
  run.stage = stage_of(config.stage);
  if (run.stage == backprop::TrainStage::kWarmup && config.init.empty()) {
    return invalid_argument("init: absent, want the checkpoint whose indexers are to learn");
  }
  DSA_RETURN_IF_ERROR(check_effects(config));
  std::error_code failed;
  std::filesystem::create_directories(config.output, failed);
  if (failed) {
    return error(StatusCode::kIoError, "{}: cannot create: {}", config.output, failed.message());
  }
  DSA_ASSIGN_OR_RETURN(run.lock, FolderLock::take(config.output));
  DSA_RETURN_IF_ERROR(open_tokenizer(config, &run));
  if (config.init.empty()) {
    run.config = new_model(config, *run.tokenizer);
  } else {
    DSA_RETURN_IF_ERROR(use_checkpoint(config, &run));
  }
  DSA_RETURN_IF_ERROR(check_model(config, &run));
  DSA_RETURN_IF_ERROR(open_data(config, packing, &run));
  return run;
}

}  // namespace dsa::trainer
