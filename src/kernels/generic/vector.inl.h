// Bodies of VectorKernels, compiled once per tier.
// Requires DSA_TIER and that tier's vec.h before inclusion.
#pragma once

#include "kernels/generic/vector_e4m3.inl.h"
#include "kernels/generic/vector_exp.inl.h"
#include "kernels/generic/vector_loop.inl.h"
#include "kernels/vector_kernels.h"

namespace dsa::kernels::DSA_TIER {
namespace {

void rms_norm(const float* x, const float* weight, size_t n, float eps, float* out) noexcept {
  const float square_sum = sum_row(n, [=](size_t i, auto part) {
    const F32 v = load(x + i, part);
    return mul(v, v);
  });
  const F32 scale = set(1.0F / __builtin_sqrtf(square_sum / static_cast<float>(n) + eps));
  for_each_vector(n, [=](size_t i, auto part) {
    store(out + i, mul(mul(load(x + i, part), scale), load(weight + i, part)), part);
  });
}

void layer_norm(const float* x,
                const float* weight,
                const float* bias,
                size_t n,
                float eps,
                float* out) noexcept {
  const float count = static_cast<float>(n);
  const float sum = sum_row(n, [=](size_t i, auto part) { return load(x + i, part); });
  const F32 mean = set(sum / count);
  const float square_sum = sum_row(n, [=](size_t i, auto part) {
    const F32 d = keep(sub(load(x + i, part), mean), zero(), part);
    return mul(d, d);
  });
  const F32 scale = set(1.0F / __builtin_sqrtf(square_sum / count + eps));
  for_each_vector(n, [=](size_t i, auto part) {
    const F32 normal = mul(sub(load(x + i, part), mean), scale);
    store(out + i, fma(normal, load(weight + i, part), load(bias + i, part)), part);
  });
}

void rope_interleaved(float* x, const float* cos, const float* sin, size_t n) noexcept {
  for (size_t i = 0; i < n / 2; ++i) {
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = a * sin[i] + b * cos[i];
  }
}

void rope_half_split(float* x, const float* cos, const float* sin, size_t n) noexcept {
  float* upper = x + n / 2;
  for_each_vector(n / 2, [=](size_t i, auto part) {
    const F32 a = load(x + i, part);
    const F32 b = load(upper + i, part);
    const F32 c = load(cos + i, part);
    const F32 s = load(sin + i, part);
    store(x + i, sub(mul(a, c), mul(b, s)), part);
    store(upper + i, add(mul(a, s), mul(b, c)), part);
  });
}

// The stages whose partners lie within one vector: lanes l and l xor stride become their sum and
// their difference.
template <size_t kStride = 1>
inline F32 butterflies(F32 v, size_t n) {
  if constexpr (kStride < F32::kLanes) {
    if (kStride < n) {
      return butterflies<2 * kStride>(add(swap_lanes<kStride>(v), negate_upper<kStride>(v)), n);
    }
  }
  return v;
}

void hadamard(float* x, size_t n) noexcept {
  const F32 scale = set(1.0F / __builtin_sqrtf(static_cast<float>(n)));
  for_each_vector(n, [=](size_t i, auto part) {
    store(x + i, butterflies(mul(load(x + i, part), scale), n), part);
  });
  for (size_t stride = F32::kLanes; stride < n; stride *= 2) {
    for (size_t block = 0; block < n; block += 2 * stride) {
      for (size_t i = block; i < block + stride; i += F32::kLanes) {
        const F32 a = load(x + i);
        const F32 b = load(x + i + stride);
        store(x + i, add(a, b));
        store(x + i + stride, sub(a, b));
      }
    }
  }
}

void silu_mul(const float* gate, const float* up, size_t n, float* out) noexcept {
  for_each_vector(n, [=](size_t i, auto part) {
    const F32 g = load(gate + i, part);
    const F32 silu = div(g, add(set(1.0F), exp(sub(zero(), g))));
    store(out + i, mul(silu, load(up + i, part)), part);
  });
}

void add_scaled(const float* x, float factor, size_t n, float* y) noexcept {
  const F32 f = set(factor);
  for_each_vector(n, [=](size_t i, auto part) {
    store(y + i, fma(load(x + i, part), f, load(y + i, part)), part);
  });
}

// What to subtract before exp: the greatest entry (NaN aside), or 0 when that is infinite.
inline float exp_shift(const float* x, size_t n) {
  const F32 lowest = set(-__builtin_inff());
  F32 greatest = lowest;
  for_each_vector(n, [&](size_t i, auto part) {
    greatest = max(keep(load(x + i, part), lowest, part), greatest);
  });
  const float shift = reduce_max(greatest);
  return __builtin_isinf(shift) ? 0.0F : shift;
}

void softmax(float* x, size_t n) noexcept {
  const F32 shift = set(exp_shift(x, n));
  for_each_vector(
      n, [=](size_t i, auto part) { store(x + i, exp(sub(load(x + i, part), shift)), part); });
  const float sum = sum_row(n, [=](size_t i, auto part) { return load(x + i, part); });
  const F32 factor = set(sum == 0.0F ? 0.0F : 1.0F / sum);
  for_each_vector(n,
                  [=](size_t i, auto part) { store(x + i, mul(load(x + i, part), factor), part); });
}

// ln of a positive sum, to f32 precision: x = 2^e m, ln m = 2 artanh((m - 1) / (m + 1)).
inline float natural_log(float x) {
  if (x == 0.0F) return -__builtin_inff();
  if (!(x < __builtin_inff())) return x;
  const double value = static_cast<double>(x);
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  // Subtracting the upper word of sqrt(1/2) splits so that m lies in [sqrt(1/2), sqrt(2)).
  const uint64_t offset = bits - 0x3FE6A09E00000000U;
  const int64_t exponent = static_cast<int64_t>(offset) >> 52;
  const uint64_t mantissa_bits = bits - (static_cast<uint64_t>(exponent) << 52);
  double m = 0;
  __builtin_memcpy(&m, &mantissa_bits, sizeof(m));
  const double t = (m - 1.0) / (m + 1.0);
  const double square = t * t;
  double series = 0;
  for (int odd = 13; odd >= 1; odd -= 2)
    series = series * square + 1.0 / odd;
  return static_cast<float>(static_cast<double>(exponent) * 0x1.62e42fefa39efp-1 +
                            2.0 * t * series);
}

float log_sum_exp(const float* x, size_t n) noexcept {
  const float shift = exp_shift(x, n);
  const F32 shifts = set(shift);
  const float sum = sum_row(n, [=](size_t i, auto part) {
    return keep(exp(sub(load(x + i, part), shifts)), zero(), part);
  });
  return shift + natural_log(sum);
}

// As dsa::f32_to_bf16: the bf16 instructions would flush subnormals.
inline U32 bf16_bits(F32 x) {
  const U32 bits = as_bits(x);
  const U32 upper = shift_right<16>(bits);
  const U32 half = add(set_bits(0x7FFF), bit_and(upper, set_bits(1)));
  const U32 rounded = shift_right<16>(add(bits, half));
  return select(is_nan(x), bit_or(upper, set_bits(0x40)), rounded);
}

void f32_to_bf16(const float* x, size_t n, uint16_t* out) noexcept {
  for_each_vector(n,
                  [=](size_t i, auto part) { store(out + i, bf16_bits(load(x + i, part)), part); });
}

void bf16_to_f32(const uint16_t* x, size_t n, float* out) noexcept {
  for_each_vector(n, [=](size_t i, auto part) {
    store(out + i, as_float(shift_left<16>(load(x + i, part))), part);
  });
}

void f16_to_f32(const uint16_t* x, size_t n, float* out) noexcept {
  for_each_vector(n,
                  [=](size_t i, auto part) { store(out + i, f16_value(load(x + i, part)), part); });
}

// Bits of 2^ceil(log2(amax / 448)): 448 is 1.75 * 2^8, so the power is 2^-8 of amax's own, or
// twice that when its mantissa exceeds 1.75.
inline uint32_t e4m3_scale_exponent(float amax) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &amax, sizeof(bits));
  return (bits >> 23) - 8U + ((bits & 0x7FFFFFU) > 0x600000U ? 1U : 0U);
}

float quantize_e4m3(const float* x, size_t n, uint8_t* out) noexcept {
  F32 greatest = set(1e-4F);
  for_each_vector(n, [&](size_t i, auto part) {
    const U32 magnitude = bit_and(as_bits(load(x + i, part)), set_bits(0x7FFFFFFF));
    greatest = max(as_float(magnitude), greatest);
  });
  const float amax = reduce_max(min(set(__FLT_MAX__), greatest));
  const uint32_t exponent = e4m3_scale_exponent(amax);
  const F32 inverse = as_float(set_bits((254U - exponent) << 23));
  for_each_vector(n, [=](size_t i, auto part) {
    store(out + i, e4m3_code(mul(load(x + i, part), inverse)), part);
  });
  const uint32_t scale_bits = exponent << 23;
  float scale = 0;
  __builtin_memcpy(&scale, &scale_bits, sizeof(scale));
  return scale;
}

void dequantize_e4m3(const uint8_t* codes, size_t n, float scale, float* out) noexcept {
  const F32 factor = set(scale);
  for_each_vector(n, [=](size_t i, auto part) {
    store(out + i, mul(e4m3_value(load(codes + i, part)), factor), part);
  });
}

constexpr VectorKernels make_vector_kernels() {
  return {.rms_norm = &rms_norm,
          .layer_norm = &layer_norm,
          .rope_interleaved = &rope_interleaved,
          .rope_half_split = &rope_half_split,
          .hadamard = &hadamard,
          .silu_mul = &silu_mul,
          .add_scaled = &add_scaled,
          .softmax = &softmax,
          .log_sum_exp = &log_sum_exp,
          .f32_to_bf16 = &f32_to_bf16,
          .bf16_to_f32 = &bf16_to_f32,
          .f16_to_f32 = &f16_to_f32,
          .quantize_e4m3 = &quantize_e4m3,
          .dequantize_e4m3 = &dequantize_e4m3};
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
