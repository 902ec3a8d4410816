#include "layers/feed_forward.h"

#include <algorithm>

#include "common/sizes.h"
#include "ops/rows.h"

namespace dsa {

FeedForwardBlock::FeedForwardBlock(const ModelConfig& config,
                                   const OpContext& context,
                                   size_t max_rows,
                                   Twins twins)
    : config_(config), context_(context), max_rows_(max_rows), twins_(twins) {
  const MoeConfig& moe = config.moe;
  router_.n_experts = as_size(moe.n_experts);
  router_.n_chosen = as_size(moe.n_experts_per_token);
  router_.n_groups = as_size(moe.n_groups);
  router_.n_chosen_groups = as_size(moe.top_k_groups);
  router_.normalise = moe.normalise_weights;
  router_.scaling = static_cast<float>(moe.routed_scaling);
  router_.softmax = moe.softmax_scores;
}

void FeedForwardBlock::plan(ScratchPlan* plan) {
  const MoeConfig& moe = config_.moe;
  const int64_t shared = moe.n_shared_experts * moe.intermediate_size;
  mlp_scratch_.plan(max_rows_, as_size(std::max(config_.intermediate_size, shared)), twins_, plan);
  if (moe.n_experts == 0) return;
  moe_scratch_.plan(router_, as_size(config_.hidden_size), as_size(moe.intermediate_size),
                    max_rows_, twins_, plan);
}

Twins FeedForwardBlock::input_twins(const LayerWeights& weights) const {
  Twins twins = read_by(context_, weights.expert_input_types);
  if (weights.mlp.gate.data != nullptr) {
    twins.add(read_by(context_, {&weights.mlp.gate, &weights.mlp.up}));
  }
  return twins;
}

void FeedForwardBlock::run(const LayerWeights& weights, const Activation& x, const BlockOutput& y) {
  if (!y.accumulate) {
    for_each_row(context_, n_rows_, [&](size_t i) {
      std::fill_n(y.data + i * y.ld, as_size(config_.hidden_size), 0.0F);
    });
  }
  if (weights.mlp.gate.data != nullptr) {
    mlp(context_, weights.mlp, x, n_rows_, mlp_scratch_, y.data, y.ld);
  }
  if (!weights.is_moe) return;
  MoeWeights moe = {weights.router, router_, weights.experts, weights.expert_input_types,
                    weights.expert_inner_types};
  moe.config.bias = weights.router_bias.empty() ? nullptr : weights.router_bias.data();
  mixture_of_experts(context_, moe, x, n_rows_, moe_scratch_, y.data, y.ld);
}

}  // namespace dsa
