// The attention half of a layer around the attention itself: norms, projections, RoPE, in the
// expanded form (dense attention) or the absorbed one (attention over selected rows).
#pragma once

#include "backprop/layer_work.h"
#include "backprop/parameters.h"

namespace dsa::backprop {

// Reads input; writes normed ... q, rows.
void project_attention(const LayerWork& work,
                       const LayerParameters& parameters,
                       const LayerState& layer);

// Writes keys and expanded.
void expand_rows(const LayerWork& work, const LayerParameters& parameters, const LayerState& layer);

// Writes absorbed_q; afterwards attention from absorbed_out.
void absorb_queries(const LayerWork& work,
                    const LayerParameters& parameters,
                    const LayerState& layer);
void expand_outputs(const LayerWork& work,
                    const LayerParameters& parameters,
                    const LayerState& layer);

// middle = input + W_o attention
void project_output(const LayerWork& work,
                    const LayerParameters& parameters,
                    const LayerState& layer);

// d_hidden: on entry the gradient of middle, on return of input. Adds the parameters' gradients.
void attention_backward(const LayerWork& work,
                        const LayerParameters& parameters,
                        const LayerState& layer,
                        bool sparse);

}  // namespace dsa::backprop
