// Keys of every format as f32, for tiers without bf16 products; and the tier's entry points.
#pragma once

#include "kernels/generic/indexer_scores.inl.h"
#include "kernels/generic/widen.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

struct PackF32 {
  static constexpr size_t kPerUnit = 1;
  static void pack(const float* x, size_t n, float* units) noexcept {
    for (size_t i = 0; i < n; ++i)
      units[i] = x[i];
  }
};
struct PackRounded {
  static constexpr size_t kPerUnit = 1;
  static void pack(const float* x, size_t n, float* units) noexcept { round_to_bf16(x, n, units); }
};

struct F32Keys : KeysInPlace {
  using Dot = F32Dot;
  using PackDot = PackF32;
};
struct Bf16Keys : KeysInPlace {
  using Dot = F32Dot;
  using PackDot = PackRounded;
  static constexpr bool kConverts = true;
  static void convert(const uint8_t* bytes, size_t n, float* units, float*) noexcept {
    widen_bf16(bytes, n, units);
  }
};
struct Fp8Keys : KeysInPlace {
  using Dot = F32Dot;
  using PackDot = PackRounded;
  static constexpr bool kConverts = true;
  static constexpr bool kScaled = true;
  static void convert(const uint8_t* bytes, size_t n, float* units, float*) noexcept {
    widen_e4m3(bytes, n, 1.0F, units);
  }
};

struct AllAsF32 {
  using Fp8 = Fp8Keys;
  using Bf16 = Bf16Keys;
  using F32 = F32Keys;
};

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
