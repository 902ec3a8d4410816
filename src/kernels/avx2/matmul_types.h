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

struct F32Math {
  using Element = float;
  using Vec = F32;
  static constexpr size_t kStep = F32::kLanes;
  static constexpr size_t kPair = 1;

  static Vec load(const float* p) { return avx2::load(p); }
  static Vec load_first(const float* p, size_t n) { return avx2::load_first(p, n); }
  static void store(float* p, Vec x) { avx2::store(p, x); }
  static void store_first(float* p, size_t n, Vec x) { avx2::store_first(p, n, x); }
  static F32 dot(F32 acc, Vec a, Vec b) { return fma(a, b, acc); }
  // Keeps x in a register: g++ would load it again for each use.
  static Vec in_register(Vec x) {
    asm("" : "+x"(x.v));
    return x;
  }
};

struct StoredF32 {
  using Bits = float;
  static constexpr size_t kVecs = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kFolds = false;

  static void load(const float* p, F32 (&out)[1]) { out[0] = avx2::load(p); }
  static void load_first(const float* p, size_t n, F32 (&out)[1]) {
    out[0] = avx2::load_first(p, n);
  }
  template <size_t>
  static F32 broadcast(const float* p) {
    return set(*p);
  }
};

struct StoredF16 {
  using Bits = uint16_t;
  static constexpr size_t kVecs = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kFolds = false;

  static void load(const uint16_t* p, F32 (&out)[1]) {
    const void* halves = p;
    out[0].v = _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(halves)));
  }
  static void load_first(const uint16_t* p, size_t n, F32 (&out)[1]) {
    out[0] = f16_value(load_u16_first(p, n));
  }
};

struct StoredBf16 {
  using Bits = uint16_t;
  static constexpr size_t kVecs = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kFolds = false;

  static void load(const uint16_t* p, F32 (&out)[1]) {
    out[0] = as_float(shift_left<16>(load_u16(p)));
  }
  static void load_first(const uint16_t* p, size_t n, F32 (&out)[1]) {
    out[0] = as_float(shift_left<16>(load_u16_first(p, n)));
  }
  template <size_t>
  static F32 broadcast(const uint16_t* p) {
    return as_float(shift_left<16>({_mm256_set1_epi16(static_cast<short>(*p))}));
  }
};

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
