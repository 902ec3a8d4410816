// The losses of training in float64, one token at a time, on tests/engine/naive_model.h.
#pragma once

#include <cmath>
#include <vector>

#include "backprop/train_model.h"
#include "tests/engine/naive_model.h"

namespace dsa::backprop {

struct OracleLosses {
  double lm = 0;               // sum of the cross-entropies
  std::vector<double> kl;      // [n_layers] sums over queries
  std::vector<double> tokens;  // cross-entropy of each token's successor; NaN: none
  std::vector<std::vector<std::vector<int32_t>>> selected;  // [token][layer], within the document

  double all_kl() const { return std::accumulate(kl.begin(), kl.end(), 0.0); }
};

inline double log_sum_exp(const Vector& x) {
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const double value : x)
    sum += std::exp(value - top);
  return top + std::log(sum);
}

enum class OracleAttention { kDense, kIndexer, kForced };

// forced: for kForced, what to attend to, as OracleLosses::selected gives it.
inline OracleLosses oracle_losses(const ModelConfig& config,
                                  const Tensors& tensors,
                                  const TrainBatch& batch,
                                  OracleAttention attention,
                                  const OracleLosses* forced = nullptr) {
  OracleLosses losses;
  const auto n_layers = static_cast<size_t>(config.n_layers);
  losses.kl.resize(n_layers);
  for (const DocumentSpan& document : batch.documents) {
    NaiveModel model(config, tensors);
    for (auto t = static_cast<size_t>(document.begin); t < static_cast<size_t>(document.end); ++t) {
      std::vector<int32_t> earlier(t + 1 - static_cast<size_t>(document.begin));
      std::iota(earlier.begin(), earlier.end(), 0);
      if (attention == OracleAttention::kDense) {
        model.force_selection(std::vector<std::vector<int32_t>>(n_layers, earlier));
      } else if (attention == OracleAttention::kForced) {
        model.force_selection(forced->selected[t]);
      }
      const Vector logits = model.step(batch.tokens[t]);
      losses.selected.push_back(model.selection());
      const bool last = t + 1 == static_cast<size_t>(document.end);
      losses.tokens.push_back(last ? std::nan("")
                                   : log_sum_exp(logits) -
                                         logits[static_cast<size_t>(batch.tokens[t + 1])]);
      if (!last) losses.lm += losses.tokens.back();
      for (size_t layer = 0; layer < n_layers; ++layer) {
        if (model.index_scores()[layer].empty()) continue;
        Vector scores;
        for (const int32_t row : model.selection()[layer])
          scores.push_back(model.index_scores()[layer][static_cast<size_t>(row)]);
        const double lse = log_sum_exp(scores);
        for (size_t j = 0; j < scores.size(); ++j) {
          const double p = model.mean_attention()[layer][j];
          losses.kl[layer] += p * (std::log(p) - (scores[j] - lse));
        }
      }
    }
  }
  return losses;
}

}  // namespace dsa::backprop
