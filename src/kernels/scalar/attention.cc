#include "kernels/attention_kernels.h"

namespace dsa::kernels::scalar {
extern const AttentionKernels kAttentionKernels;
const AttentionKernels kAttentionKernels = {};
}  // namespace dsa::kernels::scalar
