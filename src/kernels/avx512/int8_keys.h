// fp8 keys and queries in steps of whole numbers, for products of int8.
//
// An e4m3 value v becomes round(v / 4): nothing is lost from 32 on, where e4m3 itself has steps of
// 4 and more. Keys are stored as round(v / 4) + 128, the unsigned side of vpdpbusd.
#pragma once

#include "kernels/avx512/tile.h"
#define DSA_TIER avx512
#include "kernels/generic/indexer_runs.inl.h"

namespace dsa::kernels::avx512 {
namespace {

constexpr int kKeyStep = 4;
constexpr uint8_t kKeyZero = 128;

// What a rounding error of a query weighs more than one of a key in the bound: a power of two near
// the ratio of a value to its usual error.
constexpr float kErrorFactor = 256;
constexpr uint32_t kSquareUnits = 63;  // a square of 1 in the table below; all fit 8 bits

// By code without its sign: the key, and d^2 + (v / kErrorFactor)^2 rounded up, where d is what the
// rounding lost. NaN counts as 0.
struct alignas(64) Int8Tables {
  uint8_t key[128];
  uint8_t square[128];
};

constexpr Int8Tables make_int8_tables() {
  Int8Tables tables = {};
  for (int code = 0; code < 128; ++code) {
    // In units of the smallest e4m3 value, 2^-9.
    const int exponent = code >> 3;
    int64_t value = exponent == 0 ? code : int64_t{8 + (code & 7)} << (exponent - 1);
    if (code == 127) value = 0;
    const int64_t step = int64_t{kKeyStep} << 9;
    const int64_t rounded = (value + step / 2) / step;
    const int64_t lost = value - rounded * step;
    // 2^34 is a square of 1: 2^18 for the units, 2^16 for kErrorFactor.
    const int64_t square = (lost * lost << 16) + value * value;
    const int64_t one = int64_t{1} << 34;
    tables.key[code] = static_cast<uint8_t>(kKeyZero + rounded);
    tables.square[code] = static_cast<uint8_t>((square * kSquareUnits + one - 1) / one);
  }
  return tables;
}

constexpr Int8Tables kInt8Tables = make_int8_tables();
static_assert(kInt8Tables.key[0x7E] == kKeyZero + 112 && kInt8Tables.square[0x7E] == 193);

// Products of u8 (keys) and s8 (queries), four to a unit, summed in the bits of an int32.
struct Int8Dot {
  struct Operand {
    __m512i v;
  };
  static constexpr size_t kPerUnit = 4;

  static Operand broadcast(const uint8_t* unit) {
    int quad = 0;
    __builtin_memcpy(&quad, unit, sizeof(quad));
    return {_mm512_set1_epi32(quad)};
  }
  // Held in a register: g++ would load it again for every key.
  static Operand load(const float* units) {
    Operand query = {_mm512_loadu_si512(units)};
    asm("" : "+v"(query.v));
    return query;
  }
  // As assembly: with the intrinsic g++ 12 moves sums between registers and memory.
  static F32 multiply_add(Operand key, Operand query, F32 sum) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(key.v), "v"(query.v));
    return sum;
  }
};

// n units of 4 n whole numbers in [-128, 127].
struct PackInt8 {
  static constexpr size_t kPerUnit = 4;
  static void pack(const float* x, size_t n, float* units) noexcept {
    for (size_t i = 0; i < n; i += 4) {
      const size_t count = 4 * (n - i < 4 ? n - i : 4);
      const __m512i values = _mm512_cvtps_epi32(_mm512_maskz_loadu_ps(first16(count), x + 4 * i));
      float quads[4];
      _mm_storeu_ps(quads, _mm_castsi128_ps(_mm512_cvtepi32_epi8(values)));
      __builtin_memcpy(units + i, quads, count);
    }
  }
};

// extra: kLanes numbers whose sum is that of the key's squares in the table.
struct Int8Keys : KeysInPlace {
  using Dot = Int8Dot;
  static constexpr bool kConverts = true;
  static constexpr bool kBeside = true;
  static constexpr bool kScaled = true;
  static constexpr size_t kExtraUnits = kLanes;

  // dim: a multiple of 64.
  DSA_INLINE static void convert(const uint8_t* codes,
                                 size_t dim,
                                 float* units,
                                 float* extra) noexcept {
    const __m512i key0 = _mm512_load_si512(kInt8Tables.key);
    const __m512i key1 = _mm512_load_si512(kInt8Tables.key + 64);
    const __m512i square0 = _mm512_load_si512(kInt8Tables.square);
    const __m512i square1 = _mm512_load_si512(kInt8Tables.square + 64);
    __m512i sum = _mm512_setzero_si512();
    for (size_t d = 0; d < dim; d += 64) {
      const __m512i code = _mm512_loadu_si512(codes + d);
      const __m512i key = _mm512_permutex2var_epi8(key0, code, key1);  // ignores the sign bit
      const __m512i negated =
          _mm512_mask_sub_epi8(key, _mm512_movepi8_mask(code), _mm512_setzero_si512(), key);
      _mm512_store_si512(units + d / 4, negated);
      const __m512i square = _mm512_permutex2var_epi8(square0, code, square1);
      sum = _mm512_dpbusd_epi32(sum, square, _mm512_set1_epi8(1));
    }
    _mm512_store_ps(extra, _mm512_cvtepi32_ps(sum));
  }
};

}  // namespace
}  // namespace dsa::kernels::avx512
