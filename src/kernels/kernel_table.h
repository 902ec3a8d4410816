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

// scalar   any x86-64
// avx2     AVX2, FMA, F16C
// avx512   AVX-512 F/BW/DQ/VL/CD, VNNI, BF16, VBMI, VBMI2, BMI2
// Null when this CPU cannot run the tier; scalar_table() is never null.
const KernelTable* scalar_table() noexcept;
const KernelTable* avx2_table() noexcept;
const KernelTable* avx512_table() noexcept;

// The tier named by the environment variable DSA_CPU_TIER, else the best this CPU runs. Null when
// DSA_CPU_TIER names no tier this CPU can run: ops/context.cc has the words for the user.
const KernelTable* chosen_table() noexcept;

}  // namespace dsa::kernels
