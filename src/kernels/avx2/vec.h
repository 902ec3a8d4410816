// Lane vocabulary of the avx2 tier: 8 lanes. src/kernels/scalar/vec.h says what each name means.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace dsa::kernels::avx2 {
namespace {

struct F32 {
  static constexpr size_t kLanes = 8;
  __m256 v;
};

struct U32 {
  __m256i v;
};

struct Mask {
  __m256 v;
};

inline F32 zero() {
  return {_mm256_setzero_ps()};
}
inline F32 set(float x) {
  return {_mm256_set1_ps(x)};
}
inline U32 set_bits(uint32_t x) {
  return {_mm256_set1_epi32(static_cast<int>(x))};
}

// All ones in lanes 0 .. n-1.
inline __m256i first8(size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

// Keeps x in a register: g++ would load it again for each use.
inline F32 in_register(F32 x) {
  asm("" : "+v"(x.v));
  return x;
}

inline F32 load(const float* p) {
  return {_mm256_loadu_ps(p)};
}
inline void store(float* p, F32 x) {
  _mm256_storeu_ps(p, x.v);
}
inline F32 load_first(const float* p, size_t n) {
  return {_mm256_maskload_ps(p, first8(n))};
}
inline void store_first(float* p, size_t n, F32 x) {
  _mm256_maskstore_ps(p, first8(n), x.v);
}

inline F32 add(F32 a, F32 b) {
  return {_mm256_add_ps(a.v, b.v)};
}
inline F32 sub(F32 a, F32 b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
inline F32 mul(F32 a, F32 b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
inline F32 div(F32 a, F32 b) {
  return {_mm256_div_ps(a.v, b.v)};
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
inline F32 max(F32 a, F32 b) {
  return {_mm256_max_ps(a.v, b.v)};
}
inline F32 min(F32 a, F32 b) {
  return {_mm256_min_ps(a.v, b.v)};
}

// Lanes l and l + 4, then + 2, + 1.
inline float reduce_add(F32 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// Lane i is reduce_add(rows[i]), bit for bit.
inline F32 reduce_add_rows(const F32 (&rows)[8]) {
  __m256 four[4];  // of rows i and i + 4, four lanes each
  for (size_t i = 0; i < 4; ++i) {
    const __m256 a = rows[i].v;
    const __m256 b = rows[i + 4].v;
    four[i] = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  }
  const __m256 two01 = _mm256_add_ps(_mm256_shuffle_ps(four[0], four[1], 0x44),
                                     _mm256_shuffle_ps(four[0], four[1], 0xEE));
  const __m256 two23 = _mm256_add_ps(_mm256_shuffle_ps(four[2], four[3], 0x44),
                                     _mm256_shuffle_ps(four[2], four[3], 0xEE));
  return {
      _mm256_add_ps(_mm256_shuffle_ps(two01, two23, 0x88), _mm256_shuffle_ps(two01, two23, 0xDD))};
}
inline float reduce_max(F32 x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

inline U32 as_bits(F32 x) {
  return {_mm256_castps_si256(x.v)};
}
inline F32 as_float(U32 x) {
  return {_mm256_castsi256_ps(x.v)};
}
inline U32 add(U32 a, U32 b) {
  return {_mm256_add_epi32(a.v, b.v)};
}
inline U32 sub(U32 a, U32 b) {
  return {_mm256_sub_epi32(a.v, b.v)};
}
inline U32 bit_and(U32 a, U32 b) {
  return {_mm256_and_si256(a.v, b.v)};
}
inline U32 bit_or(U32 a, U32 b) {
  return {_mm256_or_si256(a.v, b.v)};
}
template <int kBits>
inline U32 shift_left(U32 a) {
  return {_mm256_slli_epi32(a.v, kBits)};
}
template <int kBits>
inline U32 shift_right(U32 a) {
  return {_mm256_srli_epi32(a.v, kBits)};
}

inline Mask less(F32 a, F32 b) {
  return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)};
}
inline Mask is_nan(F32 a) {
  return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)};
}
inline Mask equal(U32 a, U32 b) {
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))};
}
inline F32 select(Mask mask, F32 yes, F32 no) {
  return {_mm256_blendv_ps(no.v, yes.v, mask.v)};
}
inline U32 select(Mask mask, U32 yes, U32 no) {
  return as_bits(select(mask, as_float(yes), as_float(no)));
}

// The low 16 bits of the lanes, in order.
inline __m128i low_words(U32 x) {
  const __m256i low = _mm256_and_si256(x.v, _mm256_set1_epi32(0xFFFF));
  return _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
}
// The low 8 bits of the lanes, in order, in the lower half.
inline __m128i low_bytes(U32 x) {
  const __m128i words = _mm_and_si128(low_words(x), _mm_set1_epi16(0xFF));
  return _mm_packus_epi16(words, words);
}

inline U32 load_u8(const uint8_t* p) {
  const void* bytes = p;
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(bytes)))};
}
inline void store_u8(uint8_t* p, U32 x) {
  void* bytes = p;
  _mm_storel_epi64(static_cast<__m128i*>(bytes), low_bytes(x));
}
inline U32 load_u16(const uint16_t* p) {
  const void* words = p;
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(words)))};
}
inline void store_u16(uint16_t* p, U32 x) {
  void* words = p;
  _mm_storeu_si128(static_cast<__m128i*>(words), low_words(x));
}

// AVX2 masks no bytes or words: tails go through a buffer.
inline U32 load_u8_first(const uint8_t* p, size_t n) {
  uint8_t buffer[F32::kLanes] = {};
  for (size_t i = 0; i < n; ++i)
    buffer[i] = p[i];
  return load_u8(buffer);
}
inline void store_u8_first(uint8_t* p, size_t n, U32 x) {
  uint8_t buffer[F32::kLanes];
  store_u8(buffer, x);
  for (size_t i = 0; i < n; ++i)
    p[i] = buffer[i];
}
inline U32 load_u16_first(const uint16_t* p, size_t n) {
  uint16_t buffer[F32::kLanes] = {};
  for (size_t i = 0; i < n; ++i)
    buffer[i] = p[i];
  return load_u16(buffer);
}
inline void store_u16_first(uint16_t* p, size_t n, U32 x) {
  uint16_t buffer[F32::kLanes];
  store_u16(buffer, x);
  for (size_t i = 0; i < n; ++i)
    p[i] = buffer[i];
}

inline F32 f16_value(U32 half) {
  return {_mm256_cvtph_ps(low_words(half))};
}
inline F32 load_f16(const uint16_t* p) {
  const void* halves = p;
  return {_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(halves)))};
}

template <size_t kStride>
inline F32 swap_lanes(F32 x) {
  if constexpr (kStride == 1) return {_mm256_permute_ps(x.v, 0xB1)};
  if constexpr (kStride == 2) return {_mm256_permute_ps(x.v, 0x4E)};
  if constexpr (kStride == 4) return {_mm256_permute2f128_ps(x.v, x.v, 0x01)};
}
template <size_t kStride>
inline F32 negate_upper(F32 x) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  constexpr int kToSign = kStride == 1 ? 31 : kStride == 2 ? 30 : 29;
  const __m256 sign = _mm256_castsi256_ps(_mm256_slli_epi32(lane, kToSign));
  return {_mm256_xor_ps(x.v, _mm256_and_ps(sign, _mm256_set1_ps(-0.0F)))};
}

}  // namespace
}  // namespace dsa::kernels::avx2
