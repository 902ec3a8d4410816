// What the indexer and attention need of the avx2 tier besides vec.h. scalar/tile.h says what each
// name means.
#pragma once

#include "kernels/avx2/matmul_types.h"

namespace dsa::kernels::avx2 {
namespace {

constexpr size_t kLanes = F32::kLanes;
constexpr size_t kTileAccumulators = 8;
constexpr size_t kGroupVectors = 2;

// Adds neighbours, then neighbouring pairs, then halves.
inline F32 sum_rows(const float* rows) {
  __m256 quad[4];
  for (size_t i = 0; i < 4; ++i) {
    quad[i] = _mm256_hadd_ps(_mm256_loadu_ps(rows + 2 * i * kLanes),
                             _mm256_loadu_ps(rows + (2 * i + 1) * kLanes));
  }
  const __m256 low = _mm256_hadd_ps(quad[0], quad[1]);   // rows 0-3, halves apart
  const __m256 high = _mm256_hadd_ps(quad[2], quad[3]);  // rows 4-7
  return {_mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20),
                        _mm256_permute2f128_ps(low, high, 0x31))};
}

inline void transpose(const float* from, size_t from_step, float* to, size_t to_step) {
  __m256 half[8];  // lanes of rows i and i + 4, interleaved in 128-bit parts below
  for (size_t i = 0; i < 4; ++i) {
    const __m256 low = _mm256_loadu_ps(from + i * from_step);
    const __m256 high = _mm256_loadu_ps(from + (i + 4) * from_step);
    half[i] = _mm256_permute2f128_ps(low, high, 0x20);
    half[i + 4] = _mm256_permute2f128_ps(low, high, 0x31);
  }
  for (size_t part = 0; part < 8; part += 4) {
    const __m256 even01 = _mm256_unpacklo_ps(half[part], half[part + 1]);
    const __m256 odd01 = _mm256_unpackhi_ps(half[part], half[part + 1]);
    const __m256 even23 = _mm256_unpacklo_ps(half[part + 2], half[part + 3]);
    const __m256 odd23 = _mm256_unpackhi_ps(half[part + 2], half[part + 3]);
    _mm256_storeu_ps(to + part * to_step, _mm256_shuffle_ps(even01, even23, 0x44));
    _mm256_storeu_ps(to + (part + 1) * to_step, _mm256_shuffle_ps(even01, even23, 0xEE));
    _mm256_storeu_ps(to + (part + 2) * to_step, _mm256_shuffle_ps(odd01, odd23, 0x44));
    _mm256_storeu_ps(to + (part + 3) * to_step, _mm256_shuffle_ps(odd01, odd23, 0xEE));
  }
}

inline Mask first_lanes(size_t n) {
  return {_mm256_castsi256_ps(first8(n))};
}
inline Mask mask_of_bits(uint64_t bits) {
  const __m256i lane_bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i all = _mm256_set1_epi32(static_cast<int>(bits & 0xFFU));
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, lane_bit), lane_bit))};
}
inline Mask both(Mask a, Mask b) {
  return {_mm256_and_ps(a.v, b.v)};
}

inline uint64_t bits_of(__m256 mask) {
  return static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_ps(mask)));
}
inline uint64_t bits_above(F32 a, F32 b) {
  return bits_of(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ));
}
inline uint64_t bits_at_least(F32 a, F32 b) {
  return bits_of(_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ));
}
inline uint64_t bits_nan(F32 a) {
  return bits_of(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
}

// One by one: AVX2 has no compress, and few bits are set on ordinary data.
inline size_t append_indices(uint64_t bits, int32_t first, int32_t* out) {
  size_t n = 0;
  for (; bits != 0; bits &= bits - 1)
    out[n++] = first + __builtin_ctzll(bits);
  return n;
}

struct F32Dot {
  using Operand = F32;
  static constexpr size_t kPerUnit = 1;

  static F32 broadcast(const uint8_t* unit) {
    float x = 0;
    __builtin_memcpy(&x, unit, sizeof(x));
    return set(x);
  }
  static F32 load(const float* units) { return avx2::load(units); }
  static F32 multiply_add(F32 a, F32 b, F32 c) { return fma(a, b, c); }
  static uint64_t bits_not_finite(const float* units) {
    const F32 x = avx2::load(units);
    return bits_nan(sub(x, x));
  }
};

}  // namespace
}  // namespace dsa::kernels::avx2
