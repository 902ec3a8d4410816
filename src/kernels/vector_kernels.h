// Kernels on one row of f32 values. Any alignment, any length (0 included) unless said otherwise.
// All are noexcept, allocate nothing and read nothing beyond their arguments.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsa::kernels {

struct VectorKernels {
  // out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i].   x, weight, out: [n]; out may be x.
  void (*rms_norm)(const float* x, const float* weight, size_t n, float eps, float* out) noexcept;

  // out[i] = (x[i] - mean(x)) / sqrt(var(x) + eps) * weight[i] + bias[i], var with 1/n.
  // out may be x.
  void (*layer_norm)(const float* x,
                     const float* weight,
                     const float* bias,
                     size_t n,
                     float eps,
                     float* out) noexcept;

  // Rotates the pairs (x[2i], x[2i+1]) by the angle of cos[i], sin[i].   x: [n], n even, in place;
  // cos, sin: [n/2].   (a, b) -> (a cos - b sin, a sin + b cos)
  void (*rope_interleaved)(float* x, const float* cos, const float* sin, size_t n) noexcept;

  // The same on the pairs (x[i], x[i + n/2]).
  void (*rope_half_split)(float* x, const float* cos, const float* sin, size_t n) noexcept;

  // x <- H x / sqrt(n), H the Hadamard matrix in Sylvester order; n a power of two, at least 1.
  void (*hadamard)(float* x, size_t n) noexcept;

  // out[i] = gate[i] / (1 + exp(-gate[i])) * up[i];  out may be gate or up.
  void (*silu_mul)(const float* gate, const float* up, size_t n, float* out) noexcept;

  // y[i] += factor * x[i]
  void (*add_scaled)(const float* x, float factor, size_t n, float* y) noexcept;

  // x <- softmax(x) in place; n >= 1. Entries of -inf give 0; all -inf gives all 0.
  void (*softmax)(float* x, size_t n) noexcept;

  // ln sum exp x; -inf for n == 0 or all -inf.
  float (*log_sum_exp)(const float* x, size_t n) noexcept;

  // Round to nearest even; NaN stays NaN.
  void (*f32_to_bf16)(const float* x, size_t n, uint16_t* out) noexcept;
  void (*bf16_to_f32)(const uint16_t* x, size_t n, float* out) noexcept;
  void (*f16_to_f32)(const uint16_t* x, size_t n, float* out) noexcept;

  // One group: scale = 2^ceil(log2(max(amax, 1e-4) / 448)), out[i] = e4m3(x[i] / scale), rounded
  // to nearest even and saturating. Returns the scale. A NaN in x gives a NaN code there and does
  // not change the scale; an infinity counts as the largest f32 and saturates.
  float (*quantize_e4m3)(const float* x, size_t n, uint8_t* out) noexcept;

  // out[i] = value(codes[i]) * scale
  void (*dequantize_e4m3)(const uint8_t* codes, size_t n, float scale, float* out) noexcept;
};

}  // namespace dsa::kernels
