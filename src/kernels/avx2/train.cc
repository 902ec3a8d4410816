#include "kernels/avx2/tile.h"

namespace dsa::kernels::avx2 {
namespace {
constexpr size_t kGemmRows = 6;     // of a tile of C in registers
constexpr size_t kGemmVectors = 2;  // its columns
}  // namespace
}  // namespace dsa::kernels::avx2

#define DSA_TIER avx2
#include "kernels/generic/gemm.inl.h"
#include "kernels/generic/train.inl.h"

namespace dsa::kernels::avx2 {
extern const TrainKernels kTrainKernels;
constinit const TrainKernels kTrainKernels = train_kernels();
}  // namespace dsa::kernels::avx2
