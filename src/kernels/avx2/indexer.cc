#include "kernels/indexer_kernels.h"

namespace dsa::kernels::avx2 {
extern const IndexerKernels kIndexerKernels;
const IndexerKernels kIndexerKernels = {};
}  // namespace dsa::kernels::avx2
