// Elementwise work on rows of activations, split over the threads by row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/activation.h"
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

// Rows of activations that an operation produces, with memory for twins.
struct RowBuffer {
  float* f32 = nullptr;
  uint16_t* bf16 = nullptr;  // null: nothing of the model reads it
  size_t ld = 0;

  float* row(size_t i) const { return f32 + i * ld; }

  // Makes the twins of columns [first, first + n) of row i, best while the row is in the cache.
  void prepare(
      const kernels::VectorKernels& kernels, Twins twins, size_t i, size_t first, size_t n) const {
    if (!twins.contains(ActivationFormat::kBF16)) return;
    kernels.f32_to_bf16(f32 + i * ld + first, n, bf16 + i * ld + first);
  }

  // The rows for products that read the twins that were prepared.
  Activation activation(Twins twins) const {
    return {f32, twins.contains(ActivationFormat::kBF16) ? bf16 : nullptr, ld};
  }
};

// Asks for n_rows rows of ld values, and for their twins.
inline void plan_buffer(
    ScratchPlan* plan, RowBuffer* buffer, size_t n_rows, size_t ld, Twins twins) {
  buffer->ld = ld;
  plan->add(&buffer->f32, n_rows * ld);
  if (twins.contains(ActivationFormat::kBF16)) plan->add(&buffer->bf16, n_rows * ld);
}

// out rows = rms_norm of x's rows [n_rows, out.ld], and their twins.
inline void normalise_rows(const OpContext& context,
                           const float* x,
                           size_t n_rows,
                           const std::vector<float>& weight,
                           float eps,
                           Twins twins,
                           const RowBuffer& out) {
  for_each_row(context, n_rows, [&](size_t i) {
    context.vector().rms_norm(x + i * out.ld, weight.data(), out.ld, eps, out.row(i));
    out.prepare(context.vector(), twins, i, 0, out.ld);
  });
}

}  // namespace dsa
