// How the avx2 tier multiplies and what it can read: see generic/matmul_common.inl.h.
#pragma once

#include "kernels/avx2/vec.h"

namespace dsa::kernels::avx2 {
namespace {

// Columns of a direct tile by its rows, from 1; scaled: each element has two accumulators.
constexpr size_t kPlainColumns[] = {8, 6, 4};
constexpr size_t kScaledColumns[] = {4, 2};
constexpr size_t kMaxDirectRows = 2;   // scaled weights for more rows go through a panel
constexpr size_t kPanelRows = 6;       // weight rows in a panel
constexpr size_t kTileRows = 3;        // of them in a register tile
constexpr size_t kFoldedTileRows = 1;  // of A in a tile of a panel whose scales are folded in
constexpr size_t kScaledTileRows = 2;  // half: each element has two accumulators
constexpr size_t kTileVectors = 2;     // nn: vectors along n
constexpr size_t kStripMaxRows = 4;    // nn: rows of A with which W is read once, in order
constexpr size_t kColumnTileRows = 6;  // nn: rows of A

}  // namespace
}  // namespace dsa::kernels::avx2

#define DSA_TIER avx2
#include "kernels/generic/stored_types.inl.h"

namespace dsa::kernels::avx2 {
namespace {

// e4m3 codes as f16: with the exponent's bias of that type, values are 2^-8 of the codes'.
struct HalfE4m3 {
  using Bits = uint8_t;
  static constexpr size_t kVecs = 2;
  static constexpr bool kScaled = true;
  static constexpr bool kFolds = false;
  static constexpr float kFactor = 256;

  static void load(const uint8_t* p, F32 (&out)[2]) {
    const void* codes = p;
    widen(_mm_loadu_si128(static_cast<const __m128i*>(codes)), out);
  }
  static void load_first(const uint8_t* p, size_t n, F32 (&out)[2]) {
    uint8_t codes[16] = {};
    for (size_t i = 0; i < n; ++i)
      codes[i] = p[i];
    load(codes, out);
  }

 private:
  static void widen(__m128i codes, F32 (&out)[2]) {
    const __m256i magnitude = _mm256_set1_epi16(0x3F80);
    const __m256i code = _mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7);
    const __m256i value = _mm256_and_si256(code, _mm256_set1_epi16(-0x4080));  // and the sign
    const __m256i is_nan = _mm256_cmpeq_epi16(_mm256_and_si256(code, magnitude), magnitude);
    const __m256i half = _mm256_or_si256(value, is_nan);  // all ones are a NaN
    out[0].v = _mm256_cvtph_ps(_mm256_castsi256_si128(half));
    out[1].v = _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1));
  }
};

// The codes' own values.
struct StoredE4m3 {
  using Bits = uint8_t;
  static constexpr size_t kVecs = HalfE4m3::kVecs;

  static void load(const uint8_t* p, F32 (&out)[2]) {
    HalfE4m3::load(p, out);
    multiply(out);
  }
  static void load_first(const uint8_t* p, size_t n, F32 (&out)[2]) {
    HalfE4m3::load_first(p, n, out);
    multiply(out);
  }

 private:
  static void multiply(F32 (&values)[2]) {
    for (F32& value : values)
      value = mul(value, set(HalfE4m3::kFactor));
  }
};

}  // namespace
}  // namespace dsa::kernels::avx2
