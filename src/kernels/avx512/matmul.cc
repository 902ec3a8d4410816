#include "kernels/avx512/matmul_types.h"
#define DSA_TIER avx512
#include "kernels/generic/matmul_entries.inl.h"

namespace dsa::kernels::avx512 {
extern const MatmulKernels kMatmulKernels;
constinit const MatmulKernels kMatmulKernels =
    matmul_kernels<StoredE4m3, Bf16Math, PairsBf16, PairsE4m3>();
}  // namespace dsa::kernels::avx512
