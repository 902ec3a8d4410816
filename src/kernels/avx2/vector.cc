#include "kernels/avx2/vec.h"
#define DSA_TIER avx2
#include "kernels/generic/vector.inl.h"

namespace dsa::kernels::avx2 {
extern const VectorKernels kVectorKernels;
constinit const VectorKernels kVectorKernels = make_vector_kernels();
}  // namespace dsa::kernels::avx2
