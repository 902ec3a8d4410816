// How the avx512 tier reads fp8 keys to score them exactly: as pairs of bf16.
#pragma once

#include "kernels/avx512/tile.h"
#define DSA_TIER avx512
#include "kernels/generic/indexer_runs.inl.h"

namespace dsa::kernels::avx512 {
namespace {

// Bf16Dot with the query's vectors held in registers: g++ would load them again for every key.
struct KeyDot : Bf16Dot {
  static Bf16x32 load(const float* units) { return Bf16Math::in_register(Bf16Dot::load(units)); }
};

// n codes, n even, to n / 2 units; exact.
DSA_INLINE void convert_keys(const uint8_t* codes, size_t n, float* units) noexcept {
  size_t i = 0;
  for (; i + kCodes <= n; i += kCodes) {
    __m512i pairs[2];
    e4m3_pairs(_mm512_loadu_si512(codes + i), e4m3_tables(), pairs);
    _mm512_storeu_si512(units + i / 2, pairs[0]);
    _mm512_storeu_si512(units + i / 2 + kLanes, pairs[1]);
  }
  if (i < n) convert_e4m3(codes + i, n - i, units + i / 2);
}

struct Fp8PairKeys : KeysInPlace {
  using Dot = KeyDot;
  using PackDot = PackBf16;
  static constexpr bool kConverts = true;
  static constexpr bool kBeside = true;
  static constexpr bool kScaled = true;
  static constexpr size_t kRunKeys = 16;
  DSA_INLINE static void convert(const uint8_t* bytes, size_t n, float* units, float*) noexcept {
    convert_keys(bytes, n, units);
  }
};

}  // namespace
}  // namespace dsa::kernels::avx512
