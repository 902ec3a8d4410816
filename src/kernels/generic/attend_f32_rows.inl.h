// Rows of every format as f32, for tiers without bf16 products.
#pragma once

#include "kernels/generic/attend.inl.h"
#include "kernels/generic/widen.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

struct PackAsIs {
  static constexpr size_t kPerUnit = 1;
  static void pack(const float* x, size_t n, float* units) noexcept {
    __builtin_memcpy(units, x, sizeof(float) * n);
  }
};

struct F32Rows {
  using Dot = F32Dot;
  using PackDot = PackAsIs;
  static void load(const LatentLayout& layout, const uint8_t* row, float* units) noexcept {
    __builtin_memcpy(units, row, layout.row_bytes());
  }
};

struct Bf16Rows {
  using Dot = F32Dot;
  using PackDot = PackAsIs;
  static void load(const LatentLayout& layout, const uint8_t* row, float* units) noexcept {
    widen_bf16(row, layout.d_latent + layout.d_rope, units);
  }
};

struct Fp8Rows {
  using Dot = F32Dot;
  using PackDot = PackAsIs;
  static void load(const LatentLayout& layout, const uint8_t* row, float* units) noexcept {
    for (size_t group = 0; group < layout.n_scales(); ++group) {
      const size_t first = group * kScaleGroup;
      const size_t left = layout.d_latent - first;
      float scale = 0;
      __builtin_memcpy(&scale, row + layout.scale_offset() + sizeof(float) * group, sizeof(scale));
      widen_e4m3(row + first, left < kScaleGroup ? left : kScaleGroup, scale, units + first);
    }
    widen_bf16(row + layout.rope_offset(), layout.d_rope, units + layout.d_latent);
  }
};

struct AllAsF32 {
  using Fp8 = Fp8Rows;
  using Bf16 = Bf16Rows;
  using F32 = F32Rows;
};

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
