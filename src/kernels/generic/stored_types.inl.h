// How a tier multiplies f32 and reads plain weights as f32; matmul_common.inl.h says what the names
// mean. Requires DSA_TIER and that tier's vec.h before inclusion.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsa::kernels::DSA_TIER {
namespace {

struct F32Math {
  using Element = float;
  using Vec = F32;
  static constexpr size_t kStep = F32::kLanes;
  static constexpr size_t kPair = 1;

  static Vec load(const float* p) { return DSA_TIER::load(p); }
  static Vec load_first(const float* p, size_t n) { return DSA_TIER::load_first(p, n); }
  static void store(float* p, Vec x) { DSA_TIER::store(p, x); }
  static void store_first(float* p, size_t n, Vec x) { DSA_TIER::store_first(p, n, x); }
  static F32 dot(F32 acc, Vec a, Vec b) { return fma(a, b, acc); }
  static Vec in_register(Vec x) { return DSA_TIER::in_register(x); }
};

// A vector at a time, without scales.
struct PlainWeights {
  static constexpr size_t kVecs = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kFolds = false;
};

struct StoredF32 : PlainWeights {
  using Bits = float;

  static void load(const float* p, F32 (&out)[1]) { out[0] = DSA_TIER::load(p); }
  static void load_first(const float* p, size_t n, F32 (&out)[1]) {
    out[0] = DSA_TIER::load_first(p, n);
  }
  template <size_t>
  static F32 broadcast(const float* p) {
    return set(*p);
  }
};

struct StoredF16 : PlainWeights {
  using Bits = uint16_t;

  static void load(const uint16_t* p, F32 (&out)[1]) { out[0] = load_f16(p); }
  static void load_first(const uint16_t* p, size_t n, F32 (&out)[1]) {
    out[0] = f16_value(load_u16_first(p, n));
  }
};

struct StoredBf16 : PlainWeights {
  using Bits = uint16_t;

  static void load(const uint16_t* p, F32 (&out)[1]) {
    out[0] = as_float(shift_left<16>(load_u16(p)));
  }
  static void load_first(const uint16_t* p, size_t n, F32 (&out)[1]) {
    out[0] = as_float(shift_left<16>(load_u16_first(p, n)));
  }
  template <size_t>
  static F32 broadcast(const uint16_t* p) {
    return as_float(shift_left<16>(set_bits(*p)));
  }
};

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
