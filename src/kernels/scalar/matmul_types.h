// How the scalar tier multiplies and what it can read: see generic/matmul_common.inl.h.
#pragma once

#include "kernels/scalar/vec.h"

namespace dsa::kernels::scalar {
namespace {

// Columns of a direct tile by its rows, from 1; scaled: each element has two accumulators.
constexpr size_t kPlainColumns[] = {8, 4};
constexpr size_t kScaledColumns[] = {4};
constexpr size_t kMaxDirectRows = 1;   // scaled weights for more rows go through a panel
constexpr size_t kPanelRows = 4;       // weight rows in a panel
constexpr size_t kTileRows = 4;        // of them in a register tile
constexpr size_t kFoldedTileRows = 1;  // of A in a tile of a panel whose scales are folded in
constexpr size_t kScaledTileRows = 1;  // half: each element has two accumulators
constexpr size_t kTileVectors = 4;     // nn: vectors along n
constexpr size_t kStripMaxRows = 2;    // nn: rows of A with which W is read once, in order
constexpr size_t kColumnTileRows = 2;  // nn: rows of A

}  // namespace
}  // namespace dsa::kernels::scalar

#define DSA_TIER scalar
#include "kernels/generic/stored_types.inl.h"

namespace dsa::kernels::scalar {
namespace {

// The value of every code, computed by the compiler.
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
    if (code == 127) value = __builtin_nanf("");
    values.of[code] = value;
    values.of[code + 128] = -value;
  }
  return values;
}

constexpr E4m3Values kE4m3Values = make_e4m3_values();

struct StoredE4m3 {
  using Bits = uint8_t;
  static constexpr size_t kVecs = 1;
  static constexpr bool kScaled = true;
  static constexpr bool kFolds = false;
  static constexpr float kFactor = 1;

  static void load(const uint8_t* p, F32 (&out)[1]) { out[0] = {kE4m3Values.of[*p]}; }
  static void load_first(const uint8_t* p, size_t n, F32 (&out)[1]) {
    out[0] = {n == 0 ? 0.0F : kE4m3Values.of[*p]};
  }
};

}  // namespace
}  // namespace dsa::kernels::scalar
