// Conversions between f32 and the small formats, one value at a time: the definition that every
// kernel must match. Not for inner loops, and not for tier files (see docs/architecture.md).
//
//   bf16   upper half of an f32; round to nearest even; NaN stays NaN
//   e4m3   1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinity; 0x7F and 0xFF are NaN;
//          largest value 448; smallest subnormal 2^-9; conversion saturates
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace dsa {

inline constexpr float kE4m3Max = 448.0F;

inline float bf16_to_f32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40U);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

inline float f16_to_f32(uint16_t half) {
  const uint32_t exponent = (half >> 10) & 0x1FU;
  const uint32_t mantissa = half & 0x3FFU;
  float magnitude = 0;
  if (exponent == 31) {
    magnitude = mantissa != 0 ? std::numeric_limits<float>::quiet_NaN()
                              : std::numeric_limits<float>::infinity();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(mantissa + 1024), static_cast<int>(exponent) - 25);
  }
  return std::copysign(magnitude, (half & 0x8000U) != 0 ? -1.0F : 1.0F);
}

inline float e4m3_to_f32(uint8_t code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  float magnitude = 0;
  if (exponent == 15 && mantissa == 7) {
    magnitude = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -9);
  } else {
    magnitude = std::ldexp(static_cast<float>(mantissa + 8), exponent - 10);
  }
  return std::copysign(magnitude, (code & 0x80) != 0 ? -1.0F : 1.0F);
}

// Round to nearest even, saturating at +-448; NaN gives 0x7F with the sign kept.
inline uint8_t f32_to_e4m3(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return static_cast<uint8_t>(sign | 0x7F);
  const float magnitude = std::fabs(value);
  if (magnitude >= kE4m3Max) return static_cast<uint8_t>(sign | 0x7E);
  if (magnitude < 0x1p-6F) {  // subnormal: steps of 2^-9; 8 steps is the first normal code
    return static_cast<uint8_t>(sign | static_cast<uint8_t>(std::nearbyint(magnitude * 0x1p9F)));
  }
  // Round the f32 mantissa to 3 bits in integer arithmetic, then move the exponent's bias.
  const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = bits + 0x7FFFFU + ((bits >> 20) & 1U);
  const uint32_t code = (rounded >> 20) - ((127U - 7U) << 3);
  return static_cast<uint8_t>(sign | (code > 0x7E ? 0x7E : code));
}

}  // namespace dsa
