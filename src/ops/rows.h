// Elementwise work on rows of activations, split over the threads by row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/context.h"
#include "runtime/scratch.h"

namespace dsa {

// fn(row) for every row in [0, n_rows). Rows are handed out in groups: a row is little work.
template <size_t kRowsPerItem = 4, class Context, class Fn>
void for_each_row(const Context& context, size_t n_rows, const Fn& fn) {
  const size_t n_items = (n_rows + kRowsPerItem - 1) / kRowsPerItem;
  context.pool->parallel_for(static_cast<int64_t>(n_items), [&](int64_t item, int) {
    const size_t begin = static_cast<size_t>(item) * kRowsPerItem;
    const size_t end = begin + kRowsPerItem < n_rows ? begin + kRowsPerItem : n_rows;
    for (size_t row = begin; row < end; ++row)
      fn(row);
  });
}

// Activations as produced: f32 values, and where the engine computes in bf16 their rounded twin.
struct RowBuffer {
  float* f32 = nullptr;
  uint16_t* bf16 = nullptr;  // null: everything stays f32
  size_t ld = 0;

  float* row(size_t i) const { return f32 + i * ld; }

  // Rounds columns [first, first + n) of row i into bf16.
  void round_row(const kernels::VectorKernels& kernels, size_t i, size_t first, size_t n) const {
    if (bf16 != nullptr) kernels.f32_to_bf16(f32 + i * ld + first, n, bf16 + i * ld + first);
  }
};

// Asks for n_rows rows of ld values; their bf16 twin only where the engine rounds.
inline void plan_buffer(ScratchPlan* plan, RowBuffer* buffer, size_t n_rows, size_t ld, bool bf16) {
  buffer->ld = ld;
  plan->add(&buffer->f32, n_rows * ld);
  if (bf16) plan->add(&buffer->bf16, n_rows * ld);
}

// out rows = rms_norm of x's rows [n_rows, out.ld], and their rounded twins.
inline void normalise_rows(const OpContext& context,
                           const float* x,
                           size_t n_rows,
                           const std::vector<float>& weight,
                           float eps,
                           const RowBuffer& out) {
  for_each_row(context, n_rows, [&](size_t i) {
    context.vector().rms_norm(x + i * out.ld, weight.data(), out.ld, eps, out.row(i));
    out.round_row(context.vector(), i, 0, out.ld);
  });
}

}  // namespace dsa
