// Lane vocabulary of the avx512 tier: 16 lanes. src/kernels/scalar/vec.h says what each name means.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace dsa::kernels::avx512 {
namespace {

struct F32 {
  static constexpr size_t kLanes = 16;
  __m512 v;
};

struct U32 {
  __m512i v;
};

struct Mask {
  __mmask16 v;
};

// Bits 0 .. n-1; n <= 16, 32, 64.
inline __mmask16 first16(size_t n) {
  return static_cast<__mmask16>(_bzhi_u32(0xFFFFU, static_cast<uint32_t>(n)));
}
inline __mmask32 first32(size_t n) {
  return _bzhi_u32(0xFFFFFFFFU, static_cast<uint32_t>(n));
}
inline __mmask64 first64(size_t n) {
  return _bzhi_u64(~0ULL, static_cast<uint32_t>(n));
}

inline F32 zero() {
  return {_mm512_setzero_ps()};
}
inline F32 set(float x) {
  return {_mm512_set1_ps(x)};
}
inline U32 set_bits(uint32_t x) {
  return {_mm512_set1_epi32(static_cast<int>(x))};
}

// Keeps x in a register: g++ would load it again for each use.
inline F32 in_register(F32 x) {
  asm("" : "+v"(x.v));
  return x;
}

inline F32 load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
inline void store(float* p, F32 x) {
  _mm512_storeu_ps(p, x.v);
}
inline F32 load_first(const float* p, size_t n) {
  return {_mm512_maskz_loadu_ps(first16(n), p)};
}
inline void store_first(float* p, size_t n, F32 x) {
  _mm512_mask_storeu_ps(p, first16(n), x.v);
}

inline F32 add(F32 a, F32 b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline F32 sub(F32 a, F32 b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline F32 mul(F32 a, F32 b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline F32 div(F32 a, F32 b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline F32 max(F32 a, F32 b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline F32 min(F32 a, F32 b) {
  return {_mm512_min_ps(a.v, b.v)};
}

// Lanes l and l + 8, then + 4, + 2, + 1.
inline float reduce_add(F32 x) {
  const __m256 upper8 = _mm512_extractf32x8_ps(x.v, 1);
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), upper8);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// Lane i is reduce_add(rows[i]), bit for bit.
inline F32 reduce_add_rows(const F32 (&rows)[16]) {
  __m512 four[4];  // of rows i, i + 4, i + 8, i + 12, four lanes each
  for (size_t i = 0; i < 4; ++i) {
    const __m512 a = rows[i].v;
    const __m512 b = rows[i + 4].v;
    const __m512 c = rows[i + 8].v;
    const __m512 d = rows[i + 12].v;
    const __m512 ab =
        _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
    const __m512 cd =
        _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xEE));
    four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
  }
  const __m512 two01 = _mm512_add_ps(_mm512_shuffle_ps(four[0], four[1], 0x44),
                                     _mm512_shuffle_ps(four[0], four[1], 0xEE));
  const __m512 two23 = _mm512_add_ps(_mm512_shuffle_ps(four[2], four[3], 0x44),
                                     _mm512_shuffle_ps(four[2], four[3], 0xEE));
  return {
      _mm512_add_ps(_mm512_shuffle_ps(two01, two23, 0x88), _mm512_shuffle_ps(two01, two23, 0xDD))};
}
inline float reduce_max(F32 x) {
  return _mm512_reduce_max_ps(x.v);
}

inline U32 as_bits(F32 x) {
  return {_mm512_castps_si512(x.v)};
}
inline F32 as_float(U32 x) {
  return {_mm512_castsi512_ps(x.v)};
}
inline U32 add(U32 a, U32 b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
inline U32 sub(U32 a, U32 b) {
  return {_mm512_sub_epi32(a.v, b.v)};
}
inline U32 bit_and(U32 a, U32 b) {
  return {_mm512_and_si512(a.v, b.v)};
}
inline U32 bit_or(U32 a, U32 b) {
  return {_mm512_or_si512(a.v, b.v)};
}
template <int kBits>
inline U32 shift_left(U32 a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
template <int kBits>
inline U32 shift_right(U32 a) {
  return {_mm512_srli_epi32(a.v, kBits)};
}

inline Mask less(F32 a, F32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
inline Mask is_nan(F32 a) {
  return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)};
}
inline Mask equal(U32 a, U32 b) {
  return {_mm512_cmpeq_epi32_mask(a.v, b.v)};
}
inline F32 select(Mask mask, F32 yes, F32 no) {
  return {_mm512_mask_blend_ps(mask.v, no.v, yes.v)};
}
inline U32 select(Mask mask, U32 yes, U32 no) {
  return {_mm512_mask_blend_epi32(mask.v, no.v, yes.v)};
}

inline U32 load_u8_first(const uint8_t* p, size_t n) {
  return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first16(n), p))};
}
inline U32 load_u8(const uint8_t* p) {
  const void* bytes = p;
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(bytes)))};
}
inline void store_u8_first(uint8_t* p, size_t n, U32 x) {
  _mm512_mask_cvtepi32_storeu_epi8(p, first16(n), x.v);
}
inline void store_u8(uint8_t* p, U32 x) {
  void* bytes = p;
  _mm_storeu_si128(static_cast<__m128i*>(bytes), _mm512_cvtepi32_epi8(x.v));
}
inline U32 load_u16_first(const uint16_t* p, size_t n) {
  return {_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first16(n), p))};
}
inline U32 load_u16(const uint16_t* p) {
  const void* words = p;
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(words)))};
}
inline void store_u16_first(uint16_t* p, size_t n, U32 x) {
  _mm512_mask_cvtepi32_storeu_epi16(p, first16(n), x.v);
}
inline void store_u16(uint16_t* p, U32 x) {
  void* words = p;
  _mm256_storeu_si256(static_cast<__m256i*>(words), _mm512_cvtepi32_epi16(x.v));
}

inline F32 f16_value(U32 half) {
  return {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(half.v))};
}
inline F32 load_f16(const uint16_t* p) {
  return f16_value(load_u16(p));
}

template <size_t kStride>
inline F32 swap_lanes(F32 x) {
  if constexpr (kStride == 1) return {_mm512_permute_ps(x.v, 0xB1)};
  if constexpr (kStride == 2) return {_mm512_permute_ps(x.v, 0x4E)};
  if constexpr (kStride == 4) return {_mm512_shuffle_f32x4(x.v, x.v, 0xB1)};
  if constexpr (kStride == 8) return {_mm512_shuffle_f32x4(x.v, x.v, 0x4E)};
}
template <size_t kStride>
inline F32 negate_upper(F32 x) {
  constexpr __mmask16 kUpper = kStride == 1   ? 0xAAAA
                               : kStride == 2 ? 0xCCCC
                               : kStride == 4 ? 0xF0F0
                                              : 0xFF00;
  return {_mm512_mask_xor_ps(x.v, kUpper, x.v, _mm512_set1_ps(-0.0F))};
}

}  // namespace
}  // namespace dsa::kernels::avx512
