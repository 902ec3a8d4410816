// Natural logarithm over lanes of positive normal values, relative error about 2^-22.
// Requires DSA_TIER and that tier's vec.h before inclusion.
#pragma once

namespace dsa::kernels::DSA_TIER {
namespace {

// x = 2^e m, m in [sqrt(1/2), sqrt(2));  ln m = 2 artanh(t), t = (m - 1) / (m + 1), |t| < 0.1716.
inline F32 log(F32 x) {
  constexpr uint32_t kSqrtHalf = 0x3F3504F3U;
  const U32 offset = sub(as_bits(x), set_bits(kSqrtHalf));
  // The exponent as a float: biased, it is the fraction of a number near 2^23.
  const U32 biased = shift_right<23>(add(offset, set_bits(127U << 23)));
  const F32 exponent =
      sub(sub(as_float(bit_or(biased, set_bits(0x4B000000U))), set(0x1.0p23F)), set(127.0F));
  const U32 power = bit_and(offset, set_bits(0xFF800000U));
  const F32 m = as_float(sub(as_bits(x), power));
  const F32 t = div(sub(m, set(1.0F)), add(m, set(1.0F)));
  const F32 square = mul(t, t);
  F32 series = set(2.0F / 9.0F);
  series = fma(series, square, set(2.0F / 7.0F));
  series = fma(series, square, set(2.0F / 5.0F));
  series = fma(series, square, set(2.0F / 3.0F));
  series = fma(series, square, set(2.0F));
  // The upper part of ln 2 has 15 bits: its product with the exponent is exact.
  return add(mul(exponent, set(0x1.62e4p-1F)), fma(exponent, set(0x1.7f7d1cp-20F), mul(t, series)));
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
