// The products of a tier. E4m3: how it reads e4m3 for f32 activations; Math16, Bf16 and E4m3For16:
// how it multiplies bf16 activations, and reads bf16 and e4m3 for that.
#pragma once

#include "kernels/generic/matmul_nn.inl.h"
#include "kernels/generic/matmul_nt.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

template <class E4m3, class Math16, class Bf16, class E4m3For16>
constexpr MatmulKernels matmul_kernels() {
  return {
      .nt_f32 = {.f32 = &multiply_nt<F32Math, StoredF32, StoredF32>,
                 .f16 = &multiply_nt<F32Math, StoredF32, StoredF16>,
                 .bf16 = &multiply_nt<F32Math, StoredF32, StoredBf16>,
                 .e4m3 = &multiply_nt<F32Math, StoredF32, E4m3>},
      .nt_bf16 = {.f32 = nullptr,
                  .f16 = nullptr,
                  .bf16 = &multiply_nt<Math16, Bf16, Bf16>,
                  .e4m3 = &multiply_nt<Math16, Bf16, E4m3For16>},
      .nn_f32 = {.f32 = &multiply_nn<F32Math, StoredF32, StoredF32>,
                 .f16 = &multiply_nn<F32Math, StoredF32, StoredF16>,
                 .bf16 = &multiply_nn<F32Math, StoredF32, StoredBf16>,
                 .e4m3 = &multiply_nn<F32Math, StoredF32, E4m3>},
      .nn_bf16 = {.f32 = nullptr,
                  .f16 = nullptr,
                  .bf16 = &multiply_nn<Math16, Bf16, Bf16>,
                  .e4m3 = &multiply_nn<Math16, Bf16, E4m3For16>},
  };
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
