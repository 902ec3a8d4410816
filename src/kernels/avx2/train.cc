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
constinit const TrainKernels kTrainKernels = {gemm,
                                              transpose_matrix,
                                              exp_rows,
                                              add_exp_rows,
                                              softmax_backward,
                                              dot,
                                              rms_norm_backward,
                                              layer_norm_backward,
                                              silu_mul_backward,
                                              index_scores,
                                              index_scores_backward,
                                              kl_row};
}  // namespace dsa::kernels::avx2
