// The feed-forward half of a layer: dense MLP, or mixture of experts with shared experts. The
// gradient reaches the router through the sigmoid scores of the chosen experts; its bias has none.
#pragma once

#include "backprop/layer_work.h"
#include "backprop/parameters.h"

namespace dsa::backprop {

// Reads middle; writes post_normed, the MLP's inner rows and routing, and shared.hidden =
// middle + the layer's output. counts: [n_experts] tokens that chose an expert are added; null:
// do not count.
void feed_forward(const LayerWork& work,
                  const LayerParameters& parameters,
                  const LayerState& layer,
                  int64_t* counts);

// The same without shared.hidden: what the backward pass reads.
void feed_forward_inner(const LayerWork& work,
                        const LayerParameters& parameters,
                        const LayerState& layer,
                        int64_t* counts);

// d_hidden: on entry the gradient of the layer's output, on return of middle. Overwrites the inner
// rows. Adds the parameters' gradients.
void feed_forward_backward(const LayerWork& work,
                           const LayerParameters& parameters,
                           const LayerState& layer);

}  // namespace dsa::backprop
