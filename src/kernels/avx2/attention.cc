#include "kernels/avx2/tile.h"
#define DSA_TIER avx2
#include "kernels/generic/attend_entries.inl.h"
#include "kernels/generic/attend_f32_rows.inl.h"
#include "kernels/generic/softmax_online.inl.h"

namespace dsa::kernels::avx2 {
extern const AttentionKernels kAttentionKernels;
constinit const AttentionKernels kAttentionKernels = {attend_scratch_bytes<AllAsF32>,
                                                      attend<AllAsF32>, merge, online_softmax};
}  // namespace dsa::kernels::avx2
