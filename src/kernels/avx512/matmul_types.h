// How the avx512 tier multiplies and what it can read: see generic/matmul_common.inl.h.
#pragma once

#include "kernels/avx512/vec.h"

namespace dsa::kernels::avx512 {
namespace {

// Columns of a direct tile by its rows, from 1; scaled: each element has two accumulators.
constexpr size_t kPlainColumns[] = {8, 8, 4, 4};
constexpr size_t kScaledColumns[] = {8, 4, 4};
constexpr size_t kMaxDirectRows = 6;   // scaled weights for more rows go through a panel
constexpr size_t kPanelRows = 4;       // weight rows in a panel
constexpr size_t kTileRows = 4;        // of them in a register tile
constexpr size_t kFoldedTileRows = 6;  // of A in a tile of a panel whose scales are folded in
constexpr size_t kScaledTileRows = 3;  // half: each element has two accumulators
constexpr size_t kTileVectors = 4;     // nn: vectors along n
constexpr size_t kStripMaxRows = 4;    // nn: rows of A with which W is read once, in order
constexpr size_t kColumnTileRows = 6;  // nn: rows of A

}  // namespace
}  // namespace dsa::kernels::avx512

#define DSA_TIER avx512
#include "kernels/generic/stored_types.inl.h"

namespace dsa::kernels::avx512 {
namespace {

struct Bf16x32 {
  __m512i v;
};

// vdpbf16ps rounds to nearest even and treats subnormals, in and out, as zero.
struct Bf16Math {
  using Element = uint16_t;
  using Vec = Bf16x32;
  static constexpr size_t kStep = 32;
  static constexpr size_t kPair = 2;

  static Vec load(const uint16_t* p) { return {_mm512_loadu_si512(p)}; }
  static Vec load_first(const uint16_t* p, size_t n) {
    return {_mm512_maskz_loadu_epi16(first32(n), p)};
  }
  static void store(uint16_t* p, Vec x) { _mm512_storeu_si512(p, x.v); }
  static void store_first(uint16_t* p, size_t n, Vec x) {
    _mm512_mask_storeu_epi16(p, first32(n), x.v);
  }
  static Vec in_register(Vec x) {
    asm("" : "+v"(x.v));
    return x;
  }
  static F32 dot(F32 acc, Vec a, Vec b) {
    return {_mm512_dpbf16_ps(acc.v, __builtin_bit_cast(__m512bh, a.v),
                             __builtin_bit_cast(__m512bh, b.v))};
  }
  // out: pairs (row_k[j], row_k1[j]) of columns 0 .. 15, then 16 .. 31.
  static void interleave(Vec row_k, Vec row_k1, Vec (&out)[2]) {
    const __m512i ramp =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i upper = _mm512_add_epi16(ramp, _mm512_set1_epi16(16));
    out[0].v = _mm512_permutex2var_epi16(row_k.v, ramp, row_k1.v);
    out[1].v = _mm512_permutex2var_epi16(row_k.v, upper, row_k1.v);
  }
};

// The two bytes of the bf16 value of each e4m3 code without its sign.
struct alignas(64) E4m3Bytes {
  uint8_t low[128];
  uint8_t high[128];
};

// exponent_step: of a power of two that multiplies the values, 0 or 1.
constexpr E4m3Bytes make_e4m3_bytes(uint32_t exponent_step) {
  E4m3Bytes bytes = {};
  for (uint32_t code = 1; code < 127; ++code) {
    uint32_t exponent = (code >> 3) + 120;
    uint32_t mantissa = (code & 7U) << 4;
    if (code < 8) {  // subnormal: shift the leading bit out
      for (exponent = 121; mantissa < 0x80; --exponent)
        mantissa <<= 1;
    }
    const uint32_t bits = (exponent + exponent_step) << 7 | (mantissa & 0x7FU);
    bytes.low[code] = static_cast<uint8_t>(bits & 0xFFU);
    bytes.high[code] = static_cast<uint8_t>(bits >> 8);
  }
  bytes.low[127] = 0xC0;  // NaN
  bytes.high[127] = 0x7F;
  return bytes;
}

constexpr E4m3Bytes kE4m3Bytes[2] = {make_e4m3_bytes(0), make_e4m3_bytes(1)};

struct E4m3Tables {
  __m512i low[2];
  __m512i high[2];
};

inline int exponent_of(float power_of_two) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &power_of_two, sizeof(bits));
  return static_cast<int>(bits >> 23) - 127;
}

inline E4m3Tables load_e4m3_tables(const E4m3Bytes& bytes) {
  return {{_mm512_load_si512(bytes.low), _mm512_load_si512(bytes.low + 64)},
          {_mm512_load_si512(bytes.high), _mm512_load_si512(bytes.high + 64)}};
}
inline E4m3Tables e4m3_tables() {
  return load_e4m3_tables(kE4m3Bytes[0]);
}

// Of the values times 2^exponent, all of which are normal numbers. The upper byte of a bf16 number
// holds its exponent but for the lowest bit; zero and NaN stay.
inline E4m3Tables scaled_e4m3_tables(int exponent) {
  E4m3Tables tables = load_e4m3_tables(kE4m3Bytes[exponent & 1]);
  const __m512i step = _mm512_set1_epi8(static_cast<char>(exponent >> 1));
  tables.high[0] = _mm512_mask_add_epi8(tables.high[0], ~1ULL, tables.high[0], step);
  tables.high[1] = _mm512_mask_add_epi8(tables.high[1], ~0ULL >> 1, tables.high[1], step);
  return tables;
}

// Words 8i .. 8i + 7 of out[0] and out[1] are the bf16 values of bytes 16i .. 16i + 7 and
// 16i + 8 .. 16i + 15 of codes.
inline void e4m3_words(__m512i codes, const E4m3Tables& tables, __m512i (&out)[2]) {
  // Both ignore the sign bit.
  const __m512i low = _mm512_permutex2var_epi8(tables.low[0], codes, tables.low[1]);
  const __m512i magnitude = _mm512_permutex2var_epi8(tables.high[0], codes, tables.high[1]);
  const __m512i sign = _mm512_set1_epi8(-128);
  const __m512i high = _mm512_ternarylogic_epi64(magnitude, codes, sign, 0xF8);  // a | (b & c)
  out[0] = _mm512_unpacklo_epi8(low, high);
  out[1] = _mm512_unpackhi_epi8(low, high);
}

struct alignas(64) E4m3Order {
  uint8_t of[64];
};

// Places code 16 v + 4 i + d where word 2 d + v % 2 of 128-bit lane i of e4m3_words' output v / 2
// comes from: even and odd words are then f32 vectors in order.
constexpr E4m3Order make_e4m3_order() {
  E4m3Order order = {};
  for (uint32_t at = 0; at < 64; ++at) {
    const uint32_t vector = (at >> 3 & 1U) * 2 + (at & 1U);
    order.of[at] = static_cast<uint8_t>(16 * vector + 4 * (at >> 4) + (at >> 1 & 3U));
  }
  return order;
}

constexpr E4m3Order kE4m3Order = make_e4m3_order();

struct StoredE4m3 {
  using Bits = uint8_t;
  static constexpr size_t kVecs = 4;
  static constexpr bool kScaled = true;
  static constexpr bool kFolds = false;
  static constexpr float kFactor = 1;

  static void load(const uint8_t* p, F32 (&out)[4]) { widen(_mm512_loadu_si512(p), out); }
  static void load_first(const uint8_t* p, size_t n, F32 (&out)[4]) {
    widen(_mm512_maskz_loadu_epi8(first64(n), p), out);
  }

 private:
  static void widen(__m512i codes, F32 (&out)[4]) {
    __m512i words[2];
    e4m3_words(_mm512_permutexvar_epi8(_mm512_load_si512(kE4m3Order.of), codes), e4m3_tables(),
               words);
    const __m512i odd = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
    out[0].v = _mm512_castsi512_ps(_mm512_slli_epi32(words[0], 16));
    out[1].v = _mm512_castsi512_ps(_mm512_and_si512(words[0], odd));
    out[2].v = _mm512_castsi512_ps(_mm512_slli_epi32(words[1], 16));
    out[3].v = _mm512_castsi512_ps(_mm512_and_si512(words[1], odd));
  }
};

// Read as bf16, for Bf16Math.
struct PairsBf16 {
  using Bits = uint16_t;
  static constexpr size_t kVecs = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kFolds = false;

  static void load(const uint16_t* p, Bf16x32 (&out)[1]) { out[0] = Bf16Math::load(p); }
  static void load_first(const uint16_t* p, size_t n, Bf16x32 (&out)[1]) {
    out[0] = Bf16Math::load_first(p, n);
  }
  // The n = 1 or 2 values at p in every pair.
  template <size_t kCount>
  static Bf16x32 broadcast(const uint16_t* p) {
    uint32_t pair = *p;
    if constexpr (kCount == 2) __builtin_memcpy(&pair, p, sizeof(pair));
    return {_mm512_set1_epi32(static_cast<int>(pair))};
  }
};

struct PairsE4m3 {
  using Bits = uint8_t;
  static constexpr size_t kVecs = 2;
  static constexpr bool kScaled = true;
  static constexpr bool kFolds = true;
  static constexpr float kFactor = 1;

  static void load(const uint8_t* p, Bf16x32 (&out)[2]) {
    widen(_mm512_loadu_si512(p), e4m3_tables(), out);
  }
  static void load_first(const uint8_t* p, size_t n, Bf16x32 (&out)[2]) {
    widen(_mm512_maskz_loadu_epi8(first64(n), p), e4m3_tables(), out);
  }

  // A power of two with which every code stays a normal bf16 number.
  static bool can_fold(float scale) {
    uint32_t bits = 0;
    __builtin_memcpy(&bits, &scale, sizeof(bits));
    const uint32_t exponent = bits >> 23;  // a sign makes it large
    return (bits & 0x7FFFFFU) == 0 && exponent > 127 - 100 && exponent < 127 + 100;
  }

  // Reads codes times a scale that can be folded; exact.
  class Folded {
   public:
    explicit Folded(float scale) : tables_(scaled_e4m3_tables(exponent_of(scale))) {}
    void load(const uint8_t* p, Bf16x32 (&out)[2]) const {
      widen(_mm512_loadu_si512(p), tables_, out);
    }
    void load_first(const uint8_t* p, size_t n, Bf16x32 (&out)[2]) const {
      widen(_mm512_maskz_loadu_epi8(first64(n), p), tables_, out);
    }

   private:
    E4m3Tables tables_;
  };

 private:
  static void widen(__m512i codes, const E4m3Tables& tables, Bf16x32 (&out)[2]) {
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512i words[2];
    e4m3_words(_mm512_permutexvar_epi64(order, codes), tables, words);
    out[0].v = words[0];
    out[1].v = words[1];
  }
};

}  // namespace
}  // namespace dsa::kernels::avx512
