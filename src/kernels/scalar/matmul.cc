#include "kernels/matmul_kernels.h"

namespace dsa::kernels::scalar {
extern const MatmulKernels kMatmulKernels;
const MatmulKernels kMatmulKernels = {};
}  // namespace dsa::kernels::scalar
