#include "kernels/avx2/matmul_types.h"
#define DSA_TIER avx2
#include "kernels/generic/matmul_nn.inl.h"
#include "kernels/generic/matmul_nt.inl.h"

namespace dsa::kernels::avx2 {
extern const MatmulKernels kMatmulKernels;
constinit const MatmulKernels kMatmulKernels = {
    .nt_f32 = {.f32 = &multiply_nt<F32Math, StoredF32, StoredF32>,
               .f16 = &multiply_nt<F32Math, StoredF32, StoredF16>,
               .bf16 = &multiply_nt<F32Math, StoredF32, StoredBf16>,
               .e4m3 = &multiply_nt<F32Math, StoredF32, HalfE4m3>},
    .nt_bf16 = {.f32 = nullptr,
                .f16 = nullptr,
                .bf16 = &multiply_nt<F32Math, StoredBf16, StoredBf16>,
                .e4m3 = &multiply_nt<F32Math, StoredBf16, HalfE4m3>},
    .nn_f32 = {.f32 = &multiply_nn<F32Math, StoredF32, StoredF32>,
               .f16 = &multiply_nn<F32Math, StoredF32, StoredF16>,
               .bf16 = &multiply_nn<F32Math, StoredF32, StoredBf16>,
               .e4m3 = &multiply_nn<F32Math, StoredF32, HalfE4m3>},
    .nn_bf16 = {.f32 = nullptr,
                .f16 = nullptr,
                .bf16 = &multiply_nn<F32Math, StoredBf16, StoredBf16>,
                .e4m3 = &multiply_nn<F32Math, StoredBf16, HalfE4m3>},
};
}  // namespace dsa::kernels::avx2
