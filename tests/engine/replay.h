// Runs the tokens of an expected_*.safetensors through an engine, the way they were made: a prefill
// and then token by token; and compares.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dsa/cpu.h"
#include "dsa/engine.h"
#include "dsa/forward.h"
#include "dsa/model.h"
#include "dsa/safetensors.h"

namespace dsa {

// DSA_CPU_TIER for the life of the object.
class ForcedTier {
 public:
  explicit ForcedTier(const std::string& tier) { setenv("DSA_CPU_TIER", tier.c_str(), 1); }
  ~ForcedTier() { unsetenv("DSA_CPU_TIER"); }
  ForcedTier(const ForcedTier&) = delete;
  ForcedTier& operator=(const ForcedTier&) = delete;
};

struct Replay {
  std::vector<float> logits;                                // [n, vocab]
  std::vector<std::vector<std::vector<int32_t>>> selected;  // [layer][position] ascending
};

inline std::shared_ptr<const Model> open_model(const std::string& dir) {
  auto model = Model::open(dir);
  EXPECT_TRUE(model.ok()) << model.status().message();
  return model.ok() ? *model : nullptr;
}

inline Replay replay(const std::shared_ptr<const Model>& model,
                     const EngineOptions& options,
                     const std::vector<int32_t>& tokens,
                     size_t n_prefill) {
  auto engine = Engine::create(model, options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  Replay result;
  if (!engine.ok()) return result;
  result.selected.resize(static_cast<size_t>(model->config().n_layers));
  ForwardHooks hooks;
  hooks.logits = [&result](const LogitsRow& row) {
    result.logits.insert(result.logits.end(), row.logits.begin(), row.logits.end());
  };
  hooks.selection = [&result](const SelectionRow& selection) {
    result.selected[static_cast<size_t>(selection.layer)].emplace_back(selection.positions.begin(),
                                                                       selection.positions.end());
  };
  const SequenceId sequence = *(*engine)->create_sequence();
  const std::span<const int32_t> all(tokens);
  Status status = (*engine)->prefill(sequence, all.first(n_prefill), hooks, RowsWanted::kAll);
  for (size_t i = n_prefill; i < tokens.size() && status.ok(); ++i) {
    status = (*engine)->decode(sequence, tokens[i], hooks).status();
  }
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

struct Expected {
  std::vector<int32_t> tokens;
  std::vector<float> logits;
  std::vector<TensorValues<int32_t>> top_k;  // by layer, [n, k], -1 padded
};

inline Expected read_expected(const std::string& path, int64_t n_layers) {
  Expected expected;
  expected.tokens = read_i32(path, "tokens").value().values;
  expected.logits = read_f32(path, "logits").value().values;
  for (int64_t layer = 0; layer < n_layers; ++layer) {
    expected.top_k.push_back(read_i32(path, "topk." + std::to_string(layer)).value());
  }
  return expected;
}

// Share of (layer, position) rows whose selection equals the expected one.
inline double same_selections(const Replay& got, const Expected& want) {
  size_t same = 0;
  size_t all = 0;
  for (size_t layer = 0; layer < want.top_k.size(); ++layer) {
    const auto k = static_cast<size_t>(want.top_k[layer].shape[1]);
    for (size_t i = 0; i < want.tokens.size(); ++i, ++all) {
      const int32_t* row = want.top_k[layer].values.data() + i * k;
      const std::vector<int32_t> expected(row, std::find(row, row + k, -1));
      if (i < got.selected[layer].size() && got.selected[layer][i] == expected) ++same;
    }
  }
  return static_cast<double>(same) / static_cast<double>(all);
}

inline std::vector<double> differences(const std::vector<float>& got,
                                       const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  std::vector<double> result(want.size(), HUGE_VAL);
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    const double difference = std::fabs(double{got[i]} - double{want[i]});
    result[i] = std::isnan(difference) ? HUGE_VAL : difference;
  }
  return result;
}

}  // namespace dsa
