#include "kernels/vector_kernels.h"

namespace dsa::kernels::scalar {
extern const VectorKernels kVectorKernels;
const VectorKernels kVectorKernels = {};
}  // namespace dsa::kernels::scalar
