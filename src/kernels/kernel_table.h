// One table of kernels per instruction-set tier; the only seam between kernels and callers.
#pragma once

#include <cstddef>

#include "kernels/attention_kernels.h"
#include "kernels/indexer_kernels.h"
#include "kernels/matmul_kernels.h"
#include "kernels/peak_kernels.h"
#include "kernels/train_kernels.h"
#include "kernels/vector_kernels.h"

namespace dsa::kernels {

struct KernelTable {
  const char* tier_name;
  const VectorKernels* vector;
  const MatmulKernels* matmul;
  const IndexerKernels* indexer;
  const AttentionKernels* attention;
  const PeakKernels* peak;
  const TrainKernels* train;
};

}  // namespace dsa::kernels
