// dsa bench: what the library reaches on this machine, compared with what the machine can do.
#include "cli/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "dsa/model_config.h"
#include "dsa/version.h"

#include "cli/command.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr const char* kFooter =
    "The machine's limits are measured first, in the same run. Every figure is the median of\n"
    "repeated runs and is shown with its share of the limit.\n"
    "\n"
    "Examples:\n"
    "  dsa bench kernels --tier avx512\n"
    "  dsa bench attention --shape v32 --context 4K,32K,128K --attention dsa,dense\n"
    "  dsa bench attention --shape glm5 --phase prefill --context 64K --json\n"
    "  dsa bench model -m models/dsa-13m --context 256,1K";

double giga(double value) {
  return value * 1e-9;
}

dsa::Result<dsa::ModelConfig> read_base_shape(const std::string& shape) {
  auto published = dsa::published_shape(shape);
  if (published.ok()) return published;
  const auto text = read_input(shape);
  if (text.ok()) return dsa::parse_model_config(*text, shape);
  return dsa::Status(
      dsa::StatusCode::kNotFound,
      fmt::format("shape {}: no such file, want v32, glm5 or a config.json", one_line(shape)));
}

// "layers=4": as many of the shape's layers. "experts=8": as many experts, in one group.
void change_shape(const std::string& change, dsa::ModelConfig& config) {
  const size_t equals = change.find('=');
  const std::string key = change.substr(0, equals);
  int64_t value = 0;
  const char* end = change.data() + change.size();
  const auto parsed = equals == std::string::npos
                          ? std::from_chars_result{end, std::errc::invalid_argument}
                          : std::from_chars(change.data() + equals + 1, end, value);
  constexpr int64_t kMost = 1 << 20;
  const bool good = parsed.ec == std::errc() && parsed.ptr == end && value >= 1 && value <= kMost;
  if (good && key == "layers" && value <= config.n_layers) {
    config.n_layers = value;
    config.indexer.layers.resize(static_cast<size_t>(value));
    if (!config.moe.layers.empty()) config.moe.layers.resize(static_cast<size_t>(value));
  } else if (good && key == "experts") {
    config.moe.n_experts = value;
    config.moe.n_groups = config.moe.top_k_groups = 1;
    config.moe.n_experts_per_token = std::min(config.moe.n_experts_per_token, value);
  } else if (good && key == "dense") {
    config.moe.first_dense_layers = value;
    config.moe.layers.clear();
  } else if (good && key == "vocab") {
    config.vocab_size = value;
  } else if (good && key == "top_k") {
    config.indexer.top_k = value;
  } else {
    throw UsageError("--shape",
                     fmt::format("\"{}\", want layers=N (at most {}), experts=N, dense=N, vocab=N "
                                 "or top_k=N",
                                 change, config.n_layers));
  }
}

std::vector<int64_t> parse_contexts(const std::string& option, const std::string& text) {
  std::vector<int64_t> contexts;
  for (const std::string& word : split(text, ',')) {
    int64_t value = 0;
    const char* end = word.data() + word.size();
    auto parsed = std::from_chars(word.data(), end, value);
    int64_t unit = 1;
    if (parsed.ec == std::errc() && parsed.ptr + 1 == end) {
      if (*parsed.ptr == 'K' || *parsed.ptr == 'k') unit = int64_t{1} << 10;
      if (*parsed.ptr == 'M' || *parsed.ptr == 'm') unit = int64_t{1} << 20;
      if (unit > 1) ++parsed.ptr;
    }
    constexpr int64_t kMost = int64_t{1} << 24;
    if (parsed.ec != std::errc() || parsed.ptr != end || value < 1 || value > kMost / unit) {
      throw UsageError(option,
                       fmt::format("\"{}\", want numbers of tokens such as 4096,32K,1M", text));
    }
    contexts.push_back(value * unit);
  }
  return contexts;
}

}  // namespace

dsa::Result<dsa::ModelConfig> read_shape(const std::string& shape) {
  const std::vector<std::string> words = split(shape, ',');
  auto config = read_base_shape(words.front());
  for (size_t i = 1; config.ok() && i < words.size(); ++i)
    change_shape(words[i], *config);
  return config;
}

std::vector<size_t> parse_names(const std::string& option,
                                const std::string& text,
                                const std::vector<std::string>& names) {
  std::vector<size_t> places;
  for (const std::string& word : split(text, ',')) {
    const auto found = std::find(names.begin(), names.end(), word);
    if (found == names.end()) {
      throw UsageError(option, fmt::format("\"{}\", want {}", word, fmt::join(names, " or ")));
    }
    places.push_back(static_cast<size_t>(found - names.begin()));
  }
  return places;
}

const char* mode_name(dsa::AttentionMode mode) {
  return mode == dsa::AttentionMode::kDsa ? "dsa" : "dense";
}

void add_contexts_option(App& app, std::vector<int64_t>& contexts) {
  app.add_option_function(
         "--context",
         [&contexts](const std::string& text) { contexts = parse_contexts("--context", text); },
         "Context lengths in tokens (default 4K,32K,128K)")
      .type_name("N[,N...]");
}

void add_attention_option(App& app, std::vector<dsa::AttentionMode>& attention) {
  app.add_option_function(
         "--attention",
         [&attention](const std::string& text) {
           attention = parse_list<dsa::AttentionMode>(
               "--attention", text,
               {{"dsa", dsa::AttentionMode::kDsa}, {"dense", dsa::AttentionMode::kDense}});
         },
         "dsa, dense or both (default both)")
      .type_name("A[,A]");
}

Option add_weights_option(App& app, dsa::BenchWeights& weights) {
  return app
      .add_option_function(
          "--weights",
          [&weights](const std::string& text) {
            weights = parse_list<dsa::BenchWeights>("--weights", text,
                                                    {{"fp8", dsa::BenchWeights::kFp8},
                                                     {"bf16", dsa::BenchWeights::kBF16},
                                                     {"f32", dsa::BenchWeights::kF32}})
                          .front();
          },
          "Type of random weights (default fp8)")
      .type_name("fp8|bf16|f32");
}

Option add_chunk_option(App& app, int64_t& prefill_tokens) {
  return app
      .add_option("--chunk", prefill_tokens,
                  fmt::format("Tokens of a prefill step (default {})", prefill_tokens))
      .type_name("N")
      .check(whole_number(1, 8192));
}

void add_repetitions_option(App& app, int& repetitions) {
  app.add_option("--repetitions", repetitions,
                 fmt::format("Least number of measured runs per figure (default {})", repetitions))
      .type_name("N")
      .check(whole_number(1));
}

void add_threads_option(App& app, int& n_threads) {
  app.add_option("--threads", n_threads, "Threads (default: all)")
      .type_name("N")
      .check(whole_number(1, 1024));
}

std::string limits_text(const dsa::MachineLimits& limits) {
  return fmt::format(
      "machine  {}, {}, {} threads, dsa {} ({})\n"
      "limits   bf16 {:.0f} GFLOP/s, int8 {:.0f} GOP/s, f32 {:.0f} GFLOP/s, read {:.1f} GB/s, "
      "rows of 656 B {:.1f} GB/s\n",
      limits.cpu.empty() ? "unknown CPU" : limits.cpu, limits.tier, limits.n_threads, DSA_VERSION,
      DSA_COMMIT, giga(limits.bf16_flops), giga(limits.int8_ops), giga(limits.f32_flops),
      giga(limits.read_bytes), giga(limits.gather_bytes));
}

Json limits_json(const dsa::MachineLimits& limits) {
  return {{"cpu", limits.cpu},
          {"tier", limits.tier},
          {"threads", limits.n_threads},
          {"version", DSA_VERSION},
          {"commit", DSA_COMMIT},
          {"bf16_flops", limits.bf16_flops},
          {"int8_ops", limits.int8_ops},
          {"f32_flops", limits.f32_flops},
          {"read_bytes_per_second", limits.read_bytes},
          {"gather_bytes_per_second", limits.gather_bytes}};
}

Action add_bench(App& app) {
  constexpr Subcommand kKinds[] = {
      {"attention", "One attention layer at several context lengths, part by part",
       add_bench_attention},
      {"kernels", "Every kernel of every tier, compared with its limit", add_bench_kernels},
      {"model", "A whole model at several context lengths", add_bench_model},
  };
  app.footer(kFooter);
  return app.add_subcommands("Kinds", kKinds);
}

}  // namespace cli
