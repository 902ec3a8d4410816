// RoPE of rows, and its transpose, which is the rotation back.
#pragma once

#include "backprop/layer_work.h"
#include "layers/rope.h"

namespace dsa::backprop {

// Rotates x[0, d_rope) by the angles of a token of the batch; backward: by their opposite.
inline void rotate(
    const LayerWork& work, RopeLayout layout, size_t token, bool backward, float* x) {
  const size_t half = work.dims.d_rope / 2;
  const float* cos = work.shared.cos + token * half;
  const float* sin = (backward ? work.shared.minus_sin : work.shared.sin) + token * half;
  apply_rope(work.context.vector(), layout, cos, sin, work.dims.d_rope, x);
}

}  // namespace dsa::backprop
