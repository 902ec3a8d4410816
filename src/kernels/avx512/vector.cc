#include "kernels/avx512/vec.h"
#define DSA_TIER avx512
#include "kernels/generic/vector.inl.h"

namespace dsa::kernels::avx512 {
extern const VectorKernels kVectorKernels;
constinit const VectorKernels kVectorKernels = make_vector_kernels();
}  // namespace dsa::kernels::avx512
