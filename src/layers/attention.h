// The attention half of a layer: from normed input to output, by way of the cache.
//
// A block knows neither the norm before it nor the residual that takes its output
// (layers/residual.h), so a kind of attention is one class, whatever family it comes from. Blocks
// of one kind share scratch: one object serves all layers of that kind.
#pragma once

#include <cstddef>
#include <span>

#include "layers/block_output.h"
#include "layers/placed_step.h"
#include "layers/selection.h"
#include "model/weights.h"
#include "ops/matmul.h"
#include "runtime/scratch.h"

namespace dsa {

class AttentionBlock {
 public:
  virtual ~AttentionBlock() = default;

  // Asks for the memory; the rest is called only once it is there.
  virtual void plan(ScratchPlan* plan) = 0;

  // Places the tokens of a batch: what holds for every layer, such as cache rows and RoPE angles.
  // steps must outlive the calls of run().
  virtual void begin(std::span<const PlacedStep> steps) = 0;

  // The twins that run() reads of its input.
  virtual Twins input_twins(const LayerWeights& weights) const = 0;

  // y[n_tokens, hidden] = attention of layer `index` over its normed input x[n_tokens, hidden];
  // stores the tokens' cache rows.
  // selection: what the latest layer that made one selected; a layer that makes its own writes it
  // there, for itself and for those after it that share it.
  virtual void run(size_t index,
                   const LayerWeights& weights,
                   const Activation& x,
                   Selection* selection,
                   const BlockOutput& y) = 0;
};

}  // namespace dsa
