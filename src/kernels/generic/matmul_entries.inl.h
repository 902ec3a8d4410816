// The products of a tier. E4m3: how it reads e4m3 for f32 activations; Math16, Bf16 and E4m3For16:
// how it multiplies bf16 activations, and reads bf16 and e4m3 for that; StoredE4m3: the codes' own
// values.
#pragma once

#include "kernels/generic/dequantize_row.inl.h"
#include "kernels/generic/matmul_nn.inl.h"
#include "kernels/generic/matmul_nt.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

// In the order of kWeightFormats: F32, F16, BF16, F8_E4M3. A format that is not named here is
// multiplied by way of its dequantised rows.
template <class E4m3, class Math16, class Bf16, class E4m3For16>
constexpr MatmulKernels matmul_kernels() {
  return {
      .nt = {{&multiply_nt<F32Math, StoredF32, StoredF32>,
              &multiply_nt<F32Math, StoredF32, StoredF16>,
              &multiply_nt<F32Math, StoredF32, StoredBf16>, &multiply_nt<F32Math, StoredF32, E4m3>},
             {nullptr, nullptr, &multiply_nt<Math16, Bf16, Bf16>,
              &multiply_nt<Math16, Bf16, E4m3For16>}},
      .nn = {{&multiply_nn<F32Math, StoredF32, StoredF32>,
              &multiply_nn<F32Math, StoredF32, StoredF16>,
              &multiply_nn<F32Math, StoredF32, StoredBf16>, &multiply_nn<F32Math, StoredF32, E4m3>},
             {nullptr, nullptr, &multiply_nn<Math16, Bf16, Bf16>,
              &multiply_nn<Math16, Bf16, E4m3For16>}},
      .dequantize_row = {&dequantize_row<StoredF32, false>, &dequantize_row<StoredF16, false>,
                         &dequantize_row<StoredBf16, false>, &dequantize_row<StoredE4m3, true>},
  };
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
