#include "kernels/avx512/tile.h"

namespace dsa::kernels::avx512 {
namespace {
constexpr size_t kGemmRows = 12;    // of a tile of C in registers
constexpr size_t kGemmVectors = 2;  // its columns
}  // namespace
}  // namespace dsa::kernels::avx512

#define DSA_TIER avx512
#include "kernels/generic/gemm.inl.h"
#include "kernels/generic/train.inl.h"

namespace dsa::kernels::avx512 {
extern const TrainKernels kTrainKernels;
constinit const TrainKernels kTrainKernels = train_kernels();
}  // namespace dsa::kernels::avx512
