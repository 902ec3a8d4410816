// Matrix products with stored weights. Row-major everywhere; leading dimensions in elements.
//
// Contract that makes results independent of batch, tiling and threads: C[i,j] depends only on
// row i of A, on W and on k (for nt) - never on m, n, or where in a tile the element falls. Every
// path of a kernel therefore accumulates an element in the same order.
//
// Precision by activation type:
//   f32   weights are widened to f32 and products accumulate in f32
//   bf16  products of bf16 pairs (e4m3 codes are exact in bf16) accumulate in f32; e4m3 block
//         scales multiply the f32 partial sum of their block, or, where all scales of a block of
//         weight rows are powers of two, the weights themselves, which is exact
// A format without products of its own runs through dequantize_row, which every format has.
// nt with many rows keeps its sums on the stack: about 160 KB.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/weight_format.h"

namespace dsa::kernels {

// A block of a stored weight matrix. Row r begins r * row_bytes after data; where the format has a
// scale grid, the value at (r, c) is multiplied by
// scale[((row0 + r) / 128) * scale_ld + (col0 + c) / 128].
struct WeightView {
  const void* data = nullptr;
  size_t row_bytes = 0;  // a multiple of the element's size where blocks hold one value
  const float* scale = nullptr;
  size_t scale_ld = 0;
  size_t row0 = 0;  // position of the block's first element inside its 128 x 128 scale grid
  size_t col0 = 0;
};

struct MatmulArgs {
  const void* a = nullptr;  // [m, k] f32 or bf16
  size_t lda = 0;
  size_t m = 0;
  WeightView w;  // nt: [n, k]   nn: [k, n]
  size_t n = 0;
  size_t k = 0;
  float* c = nullptr;  // [m, n] f32; must not overlap a or w
  size_t ldc = 0;
  bool accumulate = false;  // false: C = A W, true: C += A W
};

using MatmulFn = void (*)(const MatmulArgs& args) noexcept;

// out[0..n) = values [first, first + n) of a row, scaled, with the bits that formats/dequantize.h
// and one f32 multiplication by the scale give. first: at the border of a block; n: any, of whole
// blocks or up to the end of the row. Reads no byte beyond the last value's block.
using DequantizeRowFn =
    void (*)(const WeightView& w, size_t row, size_t first, size_t n, float* out) noexcept;

// Indexed by ActivationFormat and by weight format, a DType.
struct MatmulKernels {
  // C[i,j] (+)= sum_k A[i,k] * W[j,k]; null: this tier has none
  MatmulFn nt[kActivationFormats][kNumWeightFormats];
  // C[i,j] (+)= sum_k A[i,k] * W[k,j]; null: this tier has none
  MatmulFn nn[kActivationFormats][kNumWeightFormats];
  DequantizeRowFn dequantize_row[kNumWeightFormats];  // never null

  MatmulFn product(bool transposed, ActivationFormat activation, DType weight) const {
    return (transposed ? nt : nn)[static_cast<size_t>(activation)][static_cast<size_t>(weight)];
  }
};

}  // namespace dsa::kernels
