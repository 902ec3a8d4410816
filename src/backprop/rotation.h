// RoPE of rows, and its transpose, which is the rotation back.
#pragma once

#include "backprop/layer_work.h"

namespace dsa::backprop {

// Rotates x[0, d_rope) by the angles of a token of the batch; backward: by their opposite.
inline void rotate(
    const LayerWork& work, RopeLayout layout, size_t token, bool backward, float* x) {
  const size_t half = work.dims.d_rope / 2;
  const float* cos = work.shared.cos + token * half;
  const float* sin = (backward ? work.shared.minus_sin : work.shared.sin) + token * half;
  if (layout == RopeLayout::kInterleaved) {
    work.context.vector().rope_interleaved(x, cos, sin, work.dims.d_rope);
  } else {
    work.context.vector().rope_half_split(x, cos, sin, work.dims.d_rope);
  }
}

}  // namespace dsa::backprop
