// f32 or bf16 values of a caller, as kernels take them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dsa/ops.h"

#include "kernels/vector_kernels.h"

namespace dsa {

// Values [first, first + n) as f32: in place, or widened into `room`.
inline const float* float_row(const kernels::VectorKernels& kernels,
                              const FloatView& view,
                              size_t first,
                              size_t n,
                              float* room) {
  if (view.type == FloatType::kF32) return static_cast<const float*>(view.data) + first;
  kernels.bf16_to_f32(static_cast<const uint16_t*>(view.data) + first, n, room);
  return room;
}

// The same values copied into `out`, to be changed there.
inline void copy_floats(const kernels::VectorKernels& kernels,
                        const FloatView& view,
                        size_t first,
                        size_t n,
                        float* out) {
  const float* values = float_row(kernels, view, first, n, out);
  for (size_t i = 0; values != out && i < n; ++i)
    out[i] = values[i];
}

}  // namespace dsa
