// Products of activations with stored weights, split over the threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/activation.h"
#include "ops/context.h"
#include "tensor/weight.h"

namespace dsa {

// One product; several run as one parallel region.
struct MatmulJob {
  kernels::MatmulFn fn = nullptr;  // null: by way of dequantised rows
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

// Runs one on the caller's thread alone.
void run_here(const OpContext& context, const MatmulJob& job);

// C = A W^T at once.
void linear(
    const OpContext& context, const Activation& a, size_t m, const Weight& w, float* c, size_t ldc);

// out[w.cols] = a row of w as f32.
void load_row(const OpContext& context, const Weight& w, size_t row, float* out);

}  // namespace dsa
