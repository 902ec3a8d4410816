// What a step costs in multiply-adds, nothing counted twice.
#include <algorithm>

#include "backprop/train_model_impl.h"

namespace dsa::backprop {

namespace {

// Queries times rows: of all earlier tokens, and of at most k of them.
double causal_pairs(double n) {
  return n * (n + 1) / 2;
}
double selected_pairs(double n, double k) {
  return n <= k ? causal_pairs(n) : causal_pairs(k) + (n - k) * k;
}

// Elements that a token is multiplied with.
double active_elements(const ModelConfig& config, const Parameter& parameter) {
  if (parameter.role != ParameterRole::kMatrix) return 0;
  const auto size = static_cast<double>(parameter.size);
  if (parameter.name.find(".mlp.experts.") == std::string::npos) return size;
  return size * static_cast<double>(config.moe.n_experts_per_token) /
         static_cast<double>(config.moe.n_experts);
}

}  // namespace

double TrainModel::step_flops(int64_t n_tokens) const {
  const TrainDims& dims = impl_->dims;
  const TrainStage stage = impl_->options.stage;
  const auto n = static_cast<double>(n_tokens);
  const bool warmup = stage == TrainStage::kWarmup;
  const bool indexes = stage != TrainStage::kPretrain;
  const double times = warmup ? 1 : 3;  // forward; gradients of inputs and of weights
  double sum = 0;
  for (const Parameter& parameter : parameters()) {
    const bool is_head = &parameter == impl_->parameters->lm_head;
    if (&parameter == impl_->parameters->embedding && !is_head) continue;
    if (is_head && warmup) continue;
    if (parameter.of_indexer) {
      if (indexes) sum += 2 * n * active_elements(impl_->config, parameter);  // no input gradient
    } else {
      sum += times * n * active_elements(impl_->config, parameter);
    }
  }
  const auto heads = static_cast<double>(dims.n_heads);
  const double pairs = causal_pairs(n);
  const double selected = selected_pairs(n, static_cast<double>(dims.top_k));
  const auto index_width = static_cast<double>(dims.index_heads * dims.index_dim);
  for (size_t i = 0; i < dims.n_layers; ++i) {
    const bool sparse = stage == TrainStage::kSparse;
    sum += sparse ? times * selected * heads * static_cast<double>(dims.d_row() + dims.d_latent)
                  : times * pairs * heads * static_cast<double>(dims.d_q() + dims.d_v);
    if (!indexes || !impl_->indexed(i)) continue;
    sum += sparse ? (pairs + 2 * selected) * index_width : 3 * pairs * index_width;
  }
  return 2 * sum;
}

}  // namespace dsa::backprop
