#include "kernels/indexer_kernels.h"

namespace dsa::kernels::avx512 {
extern const IndexerKernels kIndexerKernels;
const IndexerKernels kIndexerKernels = {};
}  // namespace dsa::kernels::avx512
