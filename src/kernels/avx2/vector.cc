#include "kernels/vector_kernels.h"

namespace dsa::kernels::avx2 {
extern const VectorKernels kVectorKernels;
const VectorKernels kVectorKernels = {};
}  // namespace dsa::kernels::avx2
