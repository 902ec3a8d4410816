#include "kernels/scalar/tile.h"
#define DSA_TIER scalar
#include "kernels/generic/indexer_entries.inl.h"
#include "kernels/generic/indexer_f32_keys.inl.h"
#include "kernels/generic/topk.inl.h"

namespace dsa::kernels::scalar {
extern const IndexerKernels kIndexerKernels;
constinit const IndexerKernels kIndexerKernels = {packed_query_bytes<AllAsF32>,
                                                  pack_query<AllAsF32>,
                                                  scores<AllAsF32>,
                                                  top_k_scratch_bytes,
                                                  top_k,
                                                  nullptr};
}  // namespace dsa::kernels::scalar
