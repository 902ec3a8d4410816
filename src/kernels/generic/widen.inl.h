// Rows of stored values to f32. Requires DSA_TIER and that tier's tile.h before inclusion.
#pragma once

#include "kernels/generic/vector_loop.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

// out[i] = value(codes[i]) * scale
inline void widen_e4m3(const uint8_t* codes, size_t n, float scale, float* out) noexcept {
  constexpr size_t kStep = StoredE4m3::kVecs * kLanes;
  const F32 factor = set(scale);
  F32 values[StoredE4m3::kVecs];
  size_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    StoredE4m3::load(codes + i, values);
    for (size_t v = 0; v < StoredE4m3::kVecs; ++v) {
      store(out + i + v * kLanes, mul(values[v], factor));
    }
  }
  if (i == n) return;
  StoredE4m3::load_first(codes + i, n - i, values);
  size_t v = 0;
  for_each_vector(
      n - i, [&](size_t at, auto part) { store(out + i + at, mul(values[v++], factor), part); });
}

// bytes: n bf16, at any address.
inline void widen_bf16(const uint8_t* bytes, size_t n, float* out) noexcept {
  constexpr size_t kPart = 64;
  uint16_t words[kPart];
  for (size_t begin = 0; begin < n; begin += kPart) {
    const size_t count = n - begin < kPart ? n - begin : kPart;
    __builtin_memcpy(words, bytes + 2 * begin, 2 * count);
    for_each_vector(count, [&](size_t i, auto part) {
      store(out + begin + i, as_float(shift_left<16>(load(words + i, part))), part);
    });
  }
}

// Rounds to the nearest bf16, even on a tie; NaN stays NaN.
inline void round_to_bf16(const float* x, size_t n, float* out) noexcept {
  for_each_vector(n, [=](size_t i, auto part) {
    const F32 value = load(x + i, part);
    const U32 bits = as_bits(value);
    const U32 odd = bit_and(shift_right<16>(bits), set_bits(1));
    const U32 rounded = add(add(bits, set_bits(0x7FFF)), odd);
    const U32 kept = bit_and(rounded, set_bits(0xFFFF0000U));
    store(out + i, select(is_nan(value), value, as_float(kept)), part);
  });
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
