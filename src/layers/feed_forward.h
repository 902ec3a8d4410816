// The feed-forward half of a layer: the dense MLP, or the mixture of experts with its shared ones.
#pragma once

#include <cstddef>
#include <span>

#include "dsa/model_config.h"

#include "layers/block_output.h"
#include "layers/placed_step.h"
#include "model/weights.h"
#include "ops/mlp.h"
#include "ops/moe.h"
#include "runtime/scratch.h"

namespace dsa {

class FeedForwardBlock {
 public:
  // config and context's members must outlive the object. twins: all that the weights of any
  // layer read.
  FeedForwardBlock(const ModelConfig& config,
                   const OpContext& context,
                   size_t max_rows,
                   Twins twins);

  // As of AttentionBlock (layers/attention.h).
  void plan(ScratchPlan* plan);
  void begin(std::span<const PlacedStep> steps) { n_rows_ = count_tokens(steps); }

  // The twins that run() reads of its input.
  Twins input_twins(const LayerWeights& weights) const;

  // y[n_tokens, hidden] = feed-forward of x[n_tokens, hidden]
  void run(const LayerWeights& weights, const Activation& x, const BlockOutput& y);

 private:
  const ModelConfig& config_;
  const OpContext context_;
  const size_t max_rows_;
  const Twins twins_;
  RouterConfig router_;
  size_t n_rows_ = 0;
  MlpScratch mlp_scratch_;
  MoeScratch moe_scratch_;
};

}  // namespace dsa
