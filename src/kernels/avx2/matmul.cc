#include "kernels/matmul_kernels.h"

namespace dsa::kernels::avx2 {
extern const MatmulKernels kMatmulKernels;
const MatmulKernels kMatmulKernels = {};
}  // namespace dsa::kernels::avx2
