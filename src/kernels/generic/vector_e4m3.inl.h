// e4m3 over lanes; src/formats/float_bits.h defines the codes.
// Requires DSA_TIER and that tier's vec.h before inclusion.
#pragma once

namespace dsa::kernels::DSA_TIER {
namespace {

// The code of a value as dsa::f32_to_e4m3 gives it, in the low bits.
inline U32 e4m3_code(F32 value) {
  const U32 bits = as_bits(value);
  const U32 sign = bit_and(shift_right<24>(bits), set_bits(0x80));
  const F32 magnitude = min(set(448.0F), as_float(bit_and(bits, set_bits(0x7FFFFFFF))));

  // Normal codes: round the mantissa to 3 bits, then move the exponent's bias from 127 to 7.
  const U32 m = as_bits(magnitude);
  const U32 half = add(set_bits(0x7FFFF), bit_and(shift_right<20>(m), set_bits(1)));
  const U32 normal = sub(shift_right<20>(add(m, half)), set_bits((127 - 7) << 3));
  // Subnormal codes count 2^-9, which is the last place of an f32 near 2^14.
  const F32 counter = set(0x1p14F);
  const U32 subnormal = sub(as_bits(add(magnitude, counter)), as_bits(counter));

  const U32 code = select(less(magnitude, set(0x1p-6F)), subnormal, normal);
  return bit_or(sign, select(is_nan(value), set_bits(0x7F), code));
}

inline F32 e4m3_value(U32 code) {
  const U32 sign = shift_left<24>(bit_and(code, set_bits(0x80)));
  const U32 rest = bit_and(code, set_bits(0x7F));
  const U32 placed = shift_left<20>(rest);
  const F32 normal = as_float(add(placed, set_bits((127 - 7) << 23)));
  // With the exponent of the first normal code, a subnormal is off by that code's 2^-6.
  const F32 subnormal = sub(as_float(add(placed, set_bits((127 - 6) << 23))), set(0x1p-6F));
  const Mask is_subnormal = equal(bit_and(rest, set_bits(0x78)), set_bits(0));
  const F32 finite = select(is_subnormal, subnormal, normal);
  const F32 magnitude = select(equal(rest, set_bits(0x7F)), set(__builtin_nanf("")), finite);
  return as_float(bit_or(sign, as_bits(magnitude)));
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
