#include "kernels/scalar/vec.h"
#define DSA_TIER scalar
#include "kernels/generic/vector.inl.h"

namespace dsa::kernels::scalar {
extern const VectorKernels kVectorKernels;
constinit const VectorKernels kVectorKernels = make_vector_kernels();
}  // namespace dsa::kernels::scalar
