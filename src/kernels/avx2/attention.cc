#include "kernels/attention_kernels.h"

namespace dsa::kernels::avx2 {
extern const AttentionKernels kAttentionKernels;
const AttentionKernels kAttentionKernels = {};
}  // namespace dsa::kernels::avx2
