#include "kernels/scalar/tile.h"

namespace dsa::kernels::scalar {
namespace {
constexpr size_t kGemmRows = 4;     // of a tile of C in registers
constexpr size_t kGemmVectors = 4;  // its columns
}  // namespace
}  // namespace dsa::kernels::scalar

#define DSA_TIER scalar
#include "kernels/generic/gemm.inl.h"
#include "kernels/generic/train.inl.h"

namespace dsa::kernels::scalar {
extern const TrainKernels kTrainKernels;
constinit const TrainKernels kTrainKernels = train_kernels();
}  // namespace dsa::kernels::scalar
