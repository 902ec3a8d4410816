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
}  // namespace dsa::kernels::scalar
