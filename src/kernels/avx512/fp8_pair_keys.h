// How the avx512 tier reads fp8 keys to score them exactly: as pairs of bf16.
#pragma once

#include "kernels/avx512/tile.h"

namespace dsa::kernels::avx512 {
namespace {

struct Fp8PairKeys {
  using Dot = Bf16Dot;
  using PackDot = PackBf16;
  static constexpr bool kConverts = true;
  static constexpr bool kScaled = true;
  static void convert(const uint8_t* bytes, size_t n, float* units) noexcept {
    convert_e4m3(bytes, n, units);
  }
};

}  // namespace
}  // namespace dsa::kernels::avx512
