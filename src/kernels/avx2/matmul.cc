#include "kernels/avx2/matmul_types.h"
#define DSA_TIER avx2
#include "kernels/generic/matmul_entries.inl.h"

namespace dsa::kernels::avx2 {
extern const MatmulKernels kMatmulKernels;
constinit const MatmulKernels kMatmulKernels =
    matmul_kernels<HalfE4m3, F32Math, StoredBf16, HalfE4m3>();
}  // namespace dsa::kernels::avx2
