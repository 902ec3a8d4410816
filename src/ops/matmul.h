// Products of activations with stored weights, split over the threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/context.h"
#include "tensor/weight.h"

namespace dsa {

// Rows of activations. When `bf16` is there, products with bf16 and e4m3 weights use it: that is
// the engine's fast precision; without it everything is f32 (docs/numerics.md).
struct Activation {
  const float* f32 = nullptr;      // [m, k]
  const uint16_t* bf16 = nullptr;  // the same values rounded, or null
  size_t ld = 0;                   // of both

  Activation columns(size_t first) const {
    return {f32 + first, bf16 == nullptr ? nullptr : bf16 + first, ld};
  }
  Activation from_row(size_t row) const { return columns(row * ld); }
};

// One product; several run as one parallel region.
struct MatmulJob {
  kernels::MatmulFn fn = nullptr;
  kernels::MatmulArgs args;
  size_t a_element_bytes = sizeof(float);
  DType weight_dtype = DType::kF32;
  bool transposed = true;  // nt: weights [n, k]; nn: weights [k, n]
};

// C[m, n] = A[m, k] W^T, W: [n, k]
MatmulJob matmul_nt(
    const OpContext& context, const Activation& a, size_t m, const Weight& w, float* c, size_t ldc);

// C[m, n] = A[m, k] W, W: [k, n]
MatmulJob matmul_nn(
    const OpContext& context, const Activation& a, size_t m, const Weight& w, float* c, size_t ldc);

// Runs the jobs; they must not write to the same memory.
void run_matmuls(const OpContext& context, std::span<const MatmulJob> jobs);

// C = A W^T at once.
void linear(
    const OpContext& context, const Activation& a, size_t m, const Weight& w, float* c, size_t ldc);

}  // namespace dsa
