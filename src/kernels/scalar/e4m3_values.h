// The value of every e4m3 code, computed by the compiler.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsa::kernels::scalar {
namespace {

struct E4m3Values {
  float of[256];
};

constexpr E4m3Values make_e4m3_values() {
  E4m3Values values = {};
  for (uint32_t code = 0; code < 128; ++code) {
    const uint32_t exponent = code >> 3;
    float value = static_cast<float>((code & 7U) + (exponent == 0 ? 0U : 8U)) * 0x1p-9F;
    for (uint32_t e = 1; e < exponent; ++e)
      value *= 2.0F;
    if (code == 0x7F) value = __builtin_nanf("");
    values.of[code] = value;
    values.of[code + 128] = -value;
  }
  return values;
}

constexpr E4m3Values kE4m3Values = make_e4m3_values();
static_assert(kE4m3Values.of[0x7E] == 448.0F && kE4m3Values.of[0x81] == -0x1p-9F);

}  // namespace
}  // namespace dsa::kernels::scalar
