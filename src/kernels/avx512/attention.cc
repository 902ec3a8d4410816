#include "kernels/avx512/tile.h"
#define DSA_TIER avx512
#include "kernels/generic/attend_entries.inl.h"
#include "kernels/generic/attend_f32_rows.inl.h"
#include "kernels/generic/softmax_online.inl.h"

namespace dsa::kernels::avx512 {
namespace {

struct Fp8PairRows {
  using Dot = Bf16Dot;
  using PackDot = PackBf16;
  static void load(const LatentLayout& layout, const uint8_t* row, float* units) noexcept {
    for (size_t group = 0; group < layout.n_scales(); ++group) {
      const size_t first = group * kScaleGroup;
      const size_t left = layout.d_latent - first;
      float scale = 0;
      __builtin_memcpy(&scale, row + layout.scale_offset() + sizeof(float) * group, sizeof(scale));
      convert_scaled_e4m3(row + first, left < kScaleGroup ? left : kScaleGroup, scale,
                          units + first / 2);
    }
    __builtin_memcpy(units + layout.d_latent / 2, row + layout.rope_offset(), 2 * layout.d_rope);
  }
};

struct Bf16PairRows {
  using Dot = Bf16Dot;
  using PackDot = PackBf16;
  static void load(const LatentLayout& layout, const uint8_t* row, float* units) noexcept {
    __builtin_memcpy(units, row, layout.row_bytes());
  }
};

struct AsPairs {
  using Fp8 = Fp8PairRows;
  using Bf16 = Bf16PairRows;
  using F32 = F32Rows;
};

}  // namespace

extern const AttentionKernels kAttentionKernels;
constinit const AttentionKernels kAttentionKernels = {attend_scratch_bytes<AsPairs>,
                                                      attend<AsPairs>, merge, online_softmax};
}  // namespace dsa::kernels::avx512
