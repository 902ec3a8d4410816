// exp over lanes: relative error below 2^-22 (about 2.4e-7), the same bits for the same input in
// whichever lane. x > 88.73 gives +inf; x < -87.33 gives 0 (the result would be subnormal or
// nearly so, and subnormals are slow); NaN gives NaN.
// Requires DSA_TIER and that tier's vec.h before inclusion.
#pragma once

namespace dsa::kernels::DSA_TIER {
namespace {

// x = n ln 2 + r, |r| <= ln 2 / 2;  exp x = 2^n (1 + r + r^2 q(r)).
inline F32 exp(F32 x) {
  const F32 lowest = set(-87.33F);
  const F32 bounded = min(set(89.0F), max(lowest, x));

  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const F32 shifter = set(0x1.8p23F);
  const F32 shifted = fma(bounded, set(0x1.715476p0F), shifter);
  const F32 n = sub(shifted, shifter);
  // The upper part of ln 2 has 14 bits: n times it is exact even when fma does not fuse.
  const F32 r = fma(n, set(-0x1.7f7d1cp-20F), fma(n, set(-0x1.62e4p-1F), bounded));

  // q interpolates (e^r - 1 - r) / r^2 at five Chebyshev nodes; e^r is then off by 1.1e-8.
  F32 q = set(0x1.6d117cp-10F);
  q = fma(q, r, set(0x1.120be2p-7F));
  q = fma(q, r, set(0x1.555518p-5F));
  q = fma(q, r, set(0x1.5554dcp-3F));
  q = fma(q, r, set(0.5F));
  const F32 mantissa = add(set(1.0F), fma(mul(r, r), q, r));

  // 2^n in two factors: n is 128 for the largest finite results.
  const U32 biased = add(sub(as_bits(shifted), as_bits(shifter)), set_bits(254));
  const U32 first = shift_right<1>(biased);
  const F32 part = mul(mantissa, as_float(shift_left<23>(first)));
  const F32 value = mul(part, as_float(shift_left<23>(sub(biased, first))));
  return select(less(x, lowest), zero(), value);
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
