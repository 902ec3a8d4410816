#include "ops/dequantized_product.h"

#include <algorithm>

namespace dsa {

namespace {

constexpr size_t kPanelRows = 16;
constexpr size_t kPanelCols = 1024;  // a multiple of every format's block

constexpr bool blocks_divide_a_panel() {
  return std::all_of(
      std::begin(kWeightFormats), std::end(kWeightFormats),
      [](const WeightFormat& format) { return kPanelCols % format.block_values == 0; });
}
static_assert(blocks_divide_a_panel());

struct Panel {
  float values[kPanelRows][kPanelCols];

  // Rows [row, row + n_rows) and columns [col, col + n_cols) of w.
  void fill(kernels::DequantizeRowFn dequantize_row,
            const kernels::WeightView& w,
            size_t row,
            size_t n_rows,
            size_t col,
            size_t n_cols) {
    for (size_t r = 0; r < n_rows; ++r)
      dequantize_row(w, row + r, col, n_cols, values[r]);
  }
  kernels::WeightView view() const { return {values, sizeof values[0]}; }
};

}  // namespace

void multiply_dequantized(const kernels::MatmulKernels& kernels,
                          DType weights,
                          bool transposed,
                          const kernels::MatmulArgs& args) {
  const kernels::DequantizeRowFn dequantize_row =
      kernels.dequantize_row[static_cast<size_t>(weights)];
  const kernels::MatmulFn multiply =
      kernels.product(transposed, ActivationFormat::kF32, DType::kF32);
  const size_t n_step = transposed ? kPanelRows : kPanelCols;
  const size_t k_step = transposed ? kPanelCols : kPanelRows;
  Panel panel;
  kernels::MatmulArgs part = args;
  part.w = panel.view();
  for (size_t j = 0; j < args.n; j += n_step) {
    part.n = std::min(n_step, args.n - j);
    part.c = args.c + j;
    for (size_t k = 0; k == 0 || k < args.k; k += k_step) {
      part.k = std::min(k_step, args.k - k);
      if (transposed) {
        panel.fill(dequantize_row, args.w, j, part.n, k, part.k);
      } else {
        panel.fill(dequantize_row, args.w, k, part.k, j, part.n);
      }
      part.a = static_cast<const float*>(args.a) + k;
      part.accumulate = args.accumulate || k > 0;
      multiply(part);
    }
  }
}

}  // namespace dsa
