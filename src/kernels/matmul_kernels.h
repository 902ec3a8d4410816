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
// nt with many rows keeps its sums on the stack: about 160 KB.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/dtype.h"

namespace dsa::kernels {

// A block of a stored weight matrix.
//   element (r, c) = data[r * ld + c], for e4m3 times
//   scale[((row0 + r) / 128) * scale_ld + (col0 + c) / 128]
struct WeightView {
  const void* data = nullptr;
  size_t ld = 0;
  const float* scale = nullptr;  // e4m3 only
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

// Indexed by weight type; DType's first four values, in this order.
struct MatmulByWeight {
  MatmulFn f32;
  MatmulFn f16;  // null for bf16 activations
  MatmulFn bf16;
  MatmulFn e4m3;
};

struct MatmulKernels {
  // C[i,j] (+)= sum_k A[i,k] * W[j,k]
  MatmulByWeight nt_f32;   // f32 activations
  MatmulByWeight nt_bf16;  // bf16 activations; f32 and f16 weights: null
  // C[i,j] (+)= sum_k A[i,k] * W[k,j]
  MatmulByWeight nn_f32;
  MatmulByWeight nn_bf16;
};

}  // namespace dsa::kernels
