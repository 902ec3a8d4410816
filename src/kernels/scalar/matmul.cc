#include "kernels/scalar/matmul_types.h"
#define DSA_TIER scalar
#include "kernels/generic/matmul_entries.inl.h"

namespace dsa::kernels::scalar {
extern const MatmulKernels kMatmulKernels;
constinit const MatmulKernels kMatmulKernels =
    matmul_kernels<StoredE4m3, F32Math, StoredBf16, StoredE4m3>();
}  // namespace dsa::kernels::scalar
