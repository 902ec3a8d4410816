// What the kinds of `dsa bench` share.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "dsa_measure/bench.h"

#include "cli/command.h"

namespace cli {

// Of a published shape ("v32", "glm5") or a config.json, with changes: "v32,layers=4,experts=8".
dsa::Result<dsa::ModelConfig> read_shape(const std::string& shape);

// One of `names`, or several separated by commas, each by its place.
template <class T>
std::vector<T> parse_list(const std::string& option,
                          const std::string& text,
                          const std::vector<std::pair<std::string, T>>& names) {
  std::vector<T> values;
  for (const std::string& word : CLI::detail::split(text, ',')) {
    const auto named = std::find_if(names.begin(), names.end(),
                                    [&](const auto& name) { return name.first == word; });
    if (named == names.end()) {
      std::string wanted;
      for (const auto& name : names)
        wanted += (wanted.empty() ? "" : " or ") + name.first;
      throw CLI::ValidationError(option, fmt::format("\"{}\", want {}", word, wanted));
    }
    values.push_back(named->second);
  }
  return values;
}

std::string limits_text(const dsa::MachineLimits& limits);
nlohmann::ordered_json limits_json(const dsa::MachineLimits& limits);

const char* mode_name(dsa::AttentionMode mode);

// Options that several kinds have; the defaults shown are the values now.
void add_contexts_option(CLI::App& app, std::vector<int64_t>& contexts);
void add_attention_option(CLI::App& app, std::vector<dsa::AttentionMode>& attention);
CLI::Option* add_weights_option(CLI::App& app, dsa::BenchWeights& weights);
CLI::Option* add_chunk_option(CLI::App& app, int64_t& prefill_tokens);
void add_repetitions_option(CLI::App& app, int& repetitions);
void add_threads_option(CLI::App& app, int& n_threads);

Action add_bench_attention(CLI::App& app);
Action add_bench_kernels(CLI::App& app);
Action add_bench_model(CLI::App& app);

}  // namespace cli
