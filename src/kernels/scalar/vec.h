// Lane vocabulary of the scalar tier: one lane, plain C++. The other tiers' vec.h define the same
// names for wider registers; src/kernels/generic/ is written in them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/architecture.h"

namespace dsa::kernels::scalar {
namespace {

struct F32 {
  static constexpr size_t kLanes = 1;
  float v;
};

struct U32 {
  uint32_t v;
};

struct Mask {
  bool v;
};

inline F32 zero() {
  return {0.0F};
}
inline F32 set(float x) {
  return {x};
}
inline U32 set_bits(uint32_t x) {
  return {x};
}

// Keeps x in a register: g++ would load it again for each use.
inline F32 in_register(F32 x) {
  DSA_KEEP_IN_REGISTER(x.v);
  return x;
}

inline F32 load(const float* p) {
  return {*p};
}
inline void store(float* p, F32 x) {
  *p = x.v;
}

// The first n <= kLanes lanes; the others are 0 when loaded and not touched when stored.
inline F32 load_first(const float* p, size_t n) {
  return {n == 0 ? 0.0F : *p};
}
inline void store_first(float* p, size_t n, F32 x) {
  if (n != 0) *p = x.v;
}

inline F32 add(F32 a, F32 b) {
  return {a.v + b.v};
}
inline F32 sub(F32 a, F32 b) {
  return {a.v - b.v};
}
inline F32 mul(F32 a, F32 b) {
  return {a.v * b.v};
}
inline F32 div(F32 a, F32 b) {
  return {a.v / b.v};
}
// a * b + c; fused where the tier has the instruction.
inline F32 fma(F32 a, F32 b, F32 c) {
  return {a.v * b.v + c.v};
}
// b when a or b is NaN.
inline F32 max(F32 a, F32 b) {
  return {a.v > b.v ? a.v : b.v};
}
inline F32 min(F32 a, F32 b) {
  return {a.v < b.v ? a.v : b.v};
}

// Always the same tree of additions.
inline float reduce_add(F32 x) {
  return x.v;
}
// Lane i is reduce_add(rows[i]), bit for bit.
inline F32 reduce_add_rows(const F32 (&rows)[1]) {
  return rows[0];
}
inline float reduce_max(F32 x) {
  return x.v;
}

inline U32 as_bits(F32 x) {
  U32 bits;
  __builtin_memcpy(&bits.v, &x.v, sizeof(bits.v));
  return bits;
}
inline F32 as_float(U32 x) {
  F32 value;
  __builtin_memcpy(&value.v, &x.v, sizeof(value.v));
  return value;
}
inline U32 add(U32 a, U32 b) {
  return {a.v + b.v};
}
inline U32 sub(U32 a, U32 b) {
  return {a.v - b.v};
}
inline U32 bit_and(U32 a, U32 b) {
  return {a.v & b.v};
}
inline U32 bit_or(U32 a, U32 b) {
  return {a.v | b.v};
}
template <int kBits>
inline U32 shift_left(U32 a) {
  return {a.v << kBits};
}
template <int kBits>
inline U32 shift_right(U32 a) {
  return {a.v >> kBits};
}

inline Mask less(F32 a, F32 b) {
  return {a.v < b.v};
}
inline Mask is_nan(F32 a) {
  return {a.v != a.v};
}
inline Mask equal(U32 a, U32 b) {
  return {a.v == b.v};
}
inline F32 select(Mask mask, F32 yes, F32 no) {
  return mask.v ? yes : no;
}
inline U32 select(Mask mask, U32 yes, U32 no) {
  return mask.v ? yes : no;
}

// Unsigned bytes and 16-bit words, one per lane; storing keeps the low bits.
inline U32 load_u8(const uint8_t* p) {
  return {*p};
}
inline U32 load_u8_first(const uint8_t* p, size_t n) {
  return {n == 0 ? 0U : *p};
}
inline void store_u8(uint8_t* p, U32 x) {
  *p = static_cast<uint8_t>(x.v);
}
inline void store_u8_first(uint8_t* p, size_t n, U32 x) {
  if (n != 0) store_u8(p, x);
}
inline U32 load_u16(const uint16_t* p) {
  return {*p};
}
inline U32 load_u16_first(const uint16_t* p, size_t n) {
  return {n == 0 ? 0U : *p};
}
inline void store_u16(uint16_t* p, U32 x) {
  *p = static_cast<uint16_t>(x.v);
}
inline void store_u16_first(uint16_t* p, size_t n, U32 x) {
  if (n != 0) store_u16(p, x);
}

// Values of f16 bit patterns held in the low halves of the lanes.
inline F32 f16_value(U32 half) {
  const uint32_t sign = (half.v & 0x8000U) << 16;
  const uint32_t rest = half.v & 0x7FFFU;
  if (rest >= 0x7C00U) return as_float({sign | 0x7F800000U | (rest << 13)});
  if (rest < 0x0400U) {  // subnormal: counts of 2^-24
    return as_float({sign | as_bits({static_cast<float>(rest) * 0x1p-24F}).v});
  }
  return as_float({sign | ((rest << 13) + (112U << 23))});
}
inline F32 load_f16(const uint16_t* p) {
  return f16_value(load_u16(p));
}

// Lane l of the result is lane l xor stride of x; stride < kLanes.
template <size_t kStride>
inline F32 swap_lanes(F32 x) {
  return x;
}
// -x in lanes whose number has the bit kStride, x elsewhere.
template <size_t kStride>
inline F32 negate_upper(F32 x) {
  return x;
}

}  // namespace
}  // namespace dsa::kernels::scalar
