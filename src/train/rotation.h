// RoPE of rows, and its transpose, which is the rotation back.
#pragma once

#include "train/run.h"

namespace dsa {

// Rotates x[0, d_rope) by the angles of a token of the batch; backward: by their opposite.
inline void rotate(const Run& run, RopeLayout layout, size_t token, bool backward, float* x) {
  const size_t half = run.dims.d_rope / 2;
  const float* cos = run.shared.cos + token * half;
  const float* sin = (backward ? run.shared.minus_sin : run.shared.sin) + token * half;
  if (layout == RopeLayout::kInterleaved) {
    run.context.vector().rope_interleaved(x, cos, sin, run.dims.d_rope);
  } else {
    run.context.vector().rope_half_split(x, cos, sin, run.dims.d_rope);
  }
}

}  // namespace dsa
