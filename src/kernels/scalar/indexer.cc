#include "kernels/indexer_kernels.h"

namespace dsa::kernels::scalar {
extern const IndexerKernels kIndexerKernels;
const IndexerKernels kIndexerKernels = {};
}  // namespace dsa::kernels::scalar
