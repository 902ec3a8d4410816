// What the kinds of `dsa bench` share.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dsa_measure/bench.h"

#include "cli/command_line.h"
#include "cli/json.h"

namespace cli {

// Of a published shape ("v32", "glm5") or a config.json, with changes: "v32,layers=4,experts=8".
dsa::Result<dsa::ModelConfig> read_shape(const std::string& shape);

// Places in `names` of the words of `text`, which are separated by commas. Throws UsageError.
std::vector<size_t> parse_names(const std::string& option,
                                const std::string& text,
                                const std::vector<std::string>& names);

// One of `names`, or several separated by commas, as the values they stand for. Throws UsageError.
template <class T>
std::vector<T> parse_list(const std::string& option,
                          const std::string& text,
                          const std::vector<std::pair<std::string, T>>& names) {
  std::vector<std::string> words;
  for (const auto& name : names)
    words.push_back(name.first);
  std::vector<T> values;
  for (const size_t at : parse_names(option, text, words))
    values.push_back(names[at].second);
  return values;
}

std::string limits_text(const dsa::MachineLimits& limits);
Json limits_json(const dsa::MachineLimits& limits);

const char* mode_name(dsa::AttentionMode mode);

// Options that several kinds have; the defaults shown are the values now.
void add_contexts_option(App& app, std::vector<int64_t>& contexts);
void add_attention_option(App& app, std::vector<dsa::AttentionMode>& attention);
Option add_weights_option(App& app, dsa::BenchWeights& weights);
Option add_chunk_option(App& app, int64_t& prefill_tokens);
void add_repetitions_option(App& app, int& repetitions);
void add_threads_option(App& app, int& n_threads);

Action add_bench_attention(App& app);
Action add_bench_kernels(App& app);
Action add_bench_model(App& app);

}  // namespace cli
