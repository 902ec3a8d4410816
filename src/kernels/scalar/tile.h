// What the indexer and attention need of the scalar tier besides vec.h. Every tier has a file of
// this name with the same names; the generic kernels are written in them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/scalar/matmul_types.h"

namespace dsa::kernels::scalar {
namespace {

constexpr size_t kLanes = F32::kLanes;
constexpr size_t kTileAccumulators = 16;  // vectors of sums a register tile holds
constexpr size_t kGroupVectors = 4;       // widest tile, in vectors

// rows: [kLanes][kLanes]. Lane i of the result is the sum of row i, in an order that does not
// depend on i.
inline F32 sum_rows(const float* rows) {
  return {*rows};
}

// to[i * to_step + j] = from[j * from_step + i] for i, j < kLanes.
inline void transpose(const float* from, size_t, float* to, size_t) {
  *to = *from;
}

inline Mask first_lanes(size_t n) {
  return {n != 0};
}
// Lane i from bit i.
inline Mask mask_of_bits(uint64_t bits) {
  return {(bits & 1U) != 0};
}
inline Mask both(Mask a, Mask b) {
  return {a.v && b.v};
}

// Comparisons, lane i in bit i; false with NaN.
inline uint64_t bits_above(F32 a, F32 b) {
  return a.v > b.v ? 1 : 0;
}
inline uint64_t bits_at_least(F32 a, F32 b) {
  return a.v >= b.v ? 1 : 0;
}
inline uint64_t bits_nan(F32 a) {
  return a.v != a.v ? 1 : 0;
}

// Appends first + i for every set bit i; returns how many.
inline size_t append_indices(uint64_t bits, int32_t first, int32_t* out) {
  size_t n = 0;
  for (; bits != 0; bits &= bits - 1)
    out[n++] = first + __builtin_ctzll(bits);
  return n;
}

// Products of f32 values; a unit (4 bytes, the step of a tile) is one value.
struct F32Dot {
  using Operand = F32;
  static constexpr size_t kPerUnit = 1;

  static F32 broadcast(const uint8_t* unit) {
    F32 x;
    __builtin_memcpy(&x.v, unit, sizeof(x.v));
    return x;
  }
  static F32 load(const float* units) { return {*units}; }
  static F32 multiply_add(F32 a, F32 b, F32 c) { return fma(a, b, c); }
  static uint64_t bits_not_finite(const float* units) { return bits_nan({*units - *units}); }
};

}  // namespace
}  // namespace dsa::kernels::scalar
