// What the indexer and attention need of the avx512 tier besides vec.h. scalar/tile.h says what
// each name means.
#pragma once

#include "kernels/avx512/matmul_types.h"

namespace dsa::kernels::avx512 {
namespace {

constexpr size_t kLanes = F32::kLanes;
constexpr size_t kTileAccumulators = 16;
constexpr size_t kGroupVectors = 4;

// A transposition in four steps, each of which adds: lanes l and l + 2 of a quarter, then l + 1;
// quarters q and q + 2, then q + 1.
inline F32 sum_rows(const float* rows) {
  __m512 pair[8];
  for (size_t i = 0; i < 8; ++i) {
    const __m512 a = _mm512_loadu_ps(rows + 2 * i * kLanes);
    const __m512 b = _mm512_loadu_ps(rows + (2 * i + 1) * kLanes);
    pair[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  __m512 quad[4];
  for (size_t i = 0; i < 4; ++i) {
    const __m512 a = pair[2 * i];
    const __m512 b = pair[2 * i + 1];
    quad[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE));
  }
  __m512 eight[2];
  for (size_t i = 0; i < 2; ++i) {
    const __m512 a = quad[2 * i];
    const __m512 b = quad[2 * i + 1];
    eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  }
  return {_mm512_add_ps(_mm512_shuffle_f32x4(eight[0], eight[1], 0x88),
                        _mm512_shuffle_f32x4(eight[0], eight[1], 0xDD))};
}

// Quarters of four rows become a vector, whose 4 x 4 blocks are then transposed in place.
inline void transpose(const float* from, size_t from_step, float* to, size_t to_step) {
  for (size_t quarter = 0; quarter < 4; ++quarter) {
    __m512 rows[4];  // rows[i]: elements 4 quarter .. + 3 of rows i, i + 4, i + 8, i + 12
    for (size_t i = 0; i < 4; ++i) {
      const float* at = from + i * from_step + 4 * quarter;
      rows[i] = _mm512_castps128_ps512(_mm_loadu_ps(at));
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(at + 4 * from_step), 1);
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(at + 8 * from_step), 2);
      rows[i] = _mm512_insertf32x4(rows[i], _mm_loadu_ps(at + 12 * from_step), 3);
    }
    const __m512 even01 = _mm512_unpacklo_ps(rows[0], rows[1]);
    const __m512 odd01 = _mm512_unpackhi_ps(rows[0], rows[1]);
    const __m512 even23 = _mm512_unpacklo_ps(rows[2], rows[3]);
    const __m512 odd23 = _mm512_unpackhi_ps(rows[2], rows[3]);
    float* out = to + 4 * quarter * to_step;
    _mm512_storeu_ps(out, _mm512_shuffle_ps(even01, even23, 0x44));
    _mm512_storeu_ps(out + to_step, _mm512_shuffle_ps(even01, even23, 0xEE));
    _mm512_storeu_ps(out + 2 * to_step, _mm512_shuffle_ps(odd01, odd23, 0x44));
    _mm512_storeu_ps(out + 3 * to_step, _mm512_shuffle_ps(odd01, odd23, 0xEE));
  }
}

inline Mask first_lanes(size_t n) {
  return {first16(n)};
}
inline Mask mask_of_bits(uint64_t bits) {
  return {static_cast<__mmask16>(bits & 0xFFFFU)};
}
inline Mask both(Mask a, Mask b) {
  return {static_cast<__mmask16>(a.v & b.v)};
}

inline uint64_t bits_above(F32 a, F32 b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ);
}
inline uint64_t bits_at_least(F32 a, F32 b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ);
}
inline uint64_t bits_nan(F32 a) {
  return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
}

// Compresses in registers: compressing into memory is microcoded on Zen 4.
inline size_t append_indices(uint64_t bits, int32_t first, int32_t* out) {
  __m512i index =
      _mm512_add_epi32(_mm512_set1_epi32(first),
                       _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  size_t n = 0;
  for (; bits != 0; bits >>= kLanes) {
    const __mmask16 mask = mask_of_bits(bits).v;
    const size_t count = static_cast<size_t>(__builtin_popcount(mask));
    _mm512_mask_storeu_epi32(out + n, first16(count), _mm512_maskz_compress_epi32(mask, index));
    index = _mm512_add_epi32(index, _mm512_set1_epi32(kLanes));
    n += count;
  }
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
  static F32 load(const float* units) { return avx512::load(units); }
  static F32 multiply_add(F32 a, F32 b, F32 c) { return fma(a, b, c); }
  static uint64_t bits_not_finite(const float* units) {
    const F32 x = avx512::load(units);
    return bits_nan(sub(x, x));
  }
};

// Products of bf16; a unit is a pair. vdpbf16ps rounds to nearest even and treats subnormals, in
// and out, as zero.
struct Bf16Dot {
  using Operand = Bf16x32;
  static constexpr size_t kPerUnit = 2;

  static Bf16x32 broadcast(const uint8_t* unit) {
    int pair = 0;
    __builtin_memcpy(&pair, unit, sizeof(pair));
    return {_mm512_set1_epi32(pair)};
  }
  static Bf16x32 load(const float* units) { return {_mm512_loadu_si512(units)}; }
  static F32 multiply_add(Bf16x32 a, Bf16x32 b, F32 c) { return Bf16Math::dot(c, a, b); }
  static uint64_t bits_not_finite(const float* units) {
    const __m512i exponent = _mm512_set1_epi16(0x7F80);
    const __m512i bits = _mm512_and_si512(_mm512_loadu_si512(units), exponent);
    return _mm512_cmpeq_epi16_mask(bits, exponent);
  }

  // Units (even[l], odd[l]), rounded to nearest even.
  static F32 interleave(F32 even, F32 odd) {
    const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const auto halves = __builtin_bit_cast(__m512i, _mm512_cvtne2ps_pbh(odd.v, even.v));
    return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(zip, halves))};
  }
  // Units (a[c], b[c]) of kLanes bf16 columns of two rows.
  static F32 pair_up(const float* a, const float* b) {
    const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512 rows =
        _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(a)), _mm256_loadu_ps(b), 1);
    return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(zip, _mm512_castps_si512(rows)))};
  }
};

// n units of 2 n values, rounded to nearest even.
struct PackBf16 {
  static constexpr size_t kPerUnit = 2;
  static void pack(const float* x, size_t n, float* units) noexcept {
    for (size_t i = 0; i < n; i += kLanes) {
      const size_t count = n - i < kLanes ? n - i : kLanes;
      const __mmask32 values = first32(2 * count);
      const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(values), x + 2 * i);
      const __m512 high =
          _mm512_maskz_loadu_ps(static_cast<__mmask16>(values >> kLanes), x + 2 * i + kLanes);
      const auto halves = __builtin_bit_cast(__m512, _mm512_cvtne2ps_pbh(high, low));
      _mm512_mask_storeu_ps(units + i, first16(count), halves);
    }
  }
};

// 64 codes to bf16, in order: 32 in each.
inline void e4m3_pairs(__m512i codes, const E4m3Tables& tables, __m512i (&out)[2]) {
  const __m512i spread = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  e4m3_words(_mm512_permutexvar_epi64(spread, codes), tables, out);
}

constexpr size_t kCodes = 64;  // converted at a time

// n codes, n even, to n / 2 units; exact.
inline void convert_e4m3(const uint8_t* codes, size_t n, float* units) {
  for (size_t i = 0; i < n; i += kCodes) {
    const __mmask64 present = first64(n - i < kCodes ? n - i : kCodes);
    __m512i pairs[2];
    e4m3_pairs(_mm512_maskz_loadu_epi8(present, codes + i), e4m3_tables(), pairs);
    _mm512_mask_storeu_epi16(units + i / 2, static_cast<__mmask32>(present), pairs[0]);
    _mm512_mask_storeu_epi16(units + i / 2 + kLanes, static_cast<__mmask32>(present >> 32),
                             pairs[1]);
  }
}

// bf16 pairs times a factor, rounded to bf16.
inline __m512i scale_pairs(__m512i pairs, F32 factor) {
  const __m512i odd = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
  const F32 even_values = {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16))};
  const F32 odd_values = {_mm512_castsi512_ps(_mm512_and_si512(pairs, odd))};
  return as_bits(Bf16Dot::interleave(mul(even_values, factor), mul(odd_values, factor))).v;
}

// convert_e4m3 of the values times scale: exact for powers of two, else rounded to nearest even.
inline void convert_scaled_e4m3(const uint8_t* codes, size_t n, float scale, float* units) {
  const bool folds = PairsE4m3::can_fold(scale);
  const E4m3Tables tables = folds ? scaled_e4m3_tables(exponent_of(scale)) : e4m3_tables();
  const F32 factor = set(scale);
  const auto convert = [&](__m512i block, __m512i(&pairs)[2]) {
    e4m3_pairs(block, tables, pairs);
    if (folds) return;
    pairs[0] = scale_pairs(pairs[0], factor);
    pairs[1] = scale_pairs(pairs[1], factor);
  };
  __m512i pairs[2];
  size_t i = 0;
  for (; i + kCodes <= n; i += kCodes) {
    convert(_mm512_loadu_si512(codes + i), pairs);
    _mm512_storeu_si512(units + i / 2, pairs[0]);
    _mm512_storeu_si512(units + i / 2 + kLanes, pairs[1]);
  }
  if (i == n) return;
  const __mmask64 present = first64(n - i);
  convert(_mm512_maskz_loadu_epi8(present, codes + i), pairs);
  _mm512_mask_storeu_epi16(units + i / 2, static_cast<__mmask32>(present), pairs[0]);
  _mm512_mask_storeu_epi16(units + i / 2 + kLanes, static_cast<__mmask32>(present >> 32), pairs[1]);
}

}  // namespace
}  // namespace dsa::kernels::avx512
