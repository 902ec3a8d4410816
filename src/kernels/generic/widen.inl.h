// Rows of stored values to f32. Requires DSA_TIER and that tier's tile.h before inclusion.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsa::kernels::DSA_TIER {
namespace {

// out[i] = value(codes[i]) * scale
inline void widen_e4m3(const uint8_t* codes, size_t n, float scale, float* out) noexcept {
  constexpr size_t kStep = StoredE4m3::kVecs * kLanes;
  const F32 factor = set(scale);
  F32 values[StoredE4m3::kVecs];
  for (size_t i = 0; i < n; i += kStep) {
    const size_t left = n - i;
    if (left < kStep) {
      StoredE4m3::load_first(codes + i, left, values);
    } else {
      StoredE4m3::load(codes + i, values);
    }
    for (size_t v = 0; v < StoredE4m3::kVecs && v * kLanes < left; ++v) {
      const size_t count = left - v * kLanes;
      store_first(out + i + v * kLanes, count < kLanes ? count : kLanes, mul(values[v], factor));
    }
  }
}

// bytes: n bf16, at any address.
inline void widen_bf16(const uint8_t* bytes, size_t n, float* out) noexcept {
  constexpr size_t kPart = 64;
  uint16_t words[kPart];
  for (size_t begin = 0; begin < n; begin += kPart) {
    const size_t part = n - begin < kPart ? n - begin : kPart;
    __builtin_memcpy(words, bytes + 2 * begin, 2 * part);
    for (size_t i = 0; i < part; i += kLanes) {
      const size_t count = part - i < kLanes ? part - i : kLanes;
      store_first(out + begin + i, count,
                  as_float(shift_left<16>(load_u16_first(words + i, count))));
    }
  }
}

// Rounds to the nearest bf16, even on a tie; NaN stays NaN.
inline void round_to_bf16(const float* x, size_t n, float* out) noexcept {
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t count = n - i < kLanes ? n - i : kLanes;
    const F32 value = load_first(x + i, count);
    const U32 bits = as_bits(value);
    const U32 odd = bit_and(shift_right<16>(bits), set_bits(1));
    const U32 rounded = add(add(bits, set_bits(0x7FFF)), odd);
    const U32 kept = bit_and(rounded, set_bits(0xFFFF0000U));
    store_first(out + i, count, select(is_nan(value), value, as_float(kept)));
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
