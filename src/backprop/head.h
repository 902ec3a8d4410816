// Final norm, output matrix and cross-entropy, a few rows of logits at a time.
#pragma once

#include "backprop/layer_work.h"
#include "backprop/parameters.h"

namespace dsa::backprop {

struct HeadParameters {
  const Parameter* final_norm = nullptr;
  const Parameter* lm_head = nullptr;
};

// Sum of the cross-entropies of the targets (-1: none). Gradients times factor: d_hidden is set,
// the parameters' are added to. Reads shared.hidden.
double cross_entropy(const LayerWork& work,
                     const HeadParameters& parameters,
                     std::span<const int32_t> targets,
                     float factor);

// The same without gradients: token_loss[i] (NaN without a target), best[i].
void token_losses(const LayerWork& work,
                  const HeadParameters& parameters,
                  std::span<const int32_t> targets,
                  float* token_loss,
                  int32_t* best);

}  // namespace dsa::backprop
