// Balance without a loss: the router's biases, which only the choice sees, move by one step towards
// equal load.
//   bias_e <- bias_e + rate * sign(mean load - load_e)
#pragma once

#include "backprop/train_model.h"

namespace dsa::trainer {

// Takes the loads from the model's expert counts and sets them to zero.
inline void balance_experts(double rate, backprop::TrainModel* model) {
  for (const backprop::Parameter& parameter : model->parameters()) {
    if (parameter.role != backprop::ParameterRole::kRouterBias || parameter.value == nullptr)
      continue;
    const std::span<const int64_t> counts = model->expert_counts(parameter.layer);
    int64_t sum = 0;
    for (const int64_t count : counts)
      sum += count;
    const auto n = static_cast<int64_t>(counts.size());
    for (size_t e = 0; e < counts.size() && e < parameter.size; ++e) {
      const int64_t below = sum - counts[e] * n;  // of the mean, times n
      const double sign = below > 0 ? 1 : (below < 0 ? -1 : 0);
      parameter.value[e] += static_cast<float>(rate * sign);
    }
  }
  model->zero_expert_counts();
}

}  // namespace dsa::trainer
