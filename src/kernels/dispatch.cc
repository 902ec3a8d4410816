// Decides which tier this CPU may run. Compiled for the baseline: no tier is called before this
// says so.
#include <cstdlib>
#include <cstring>

#include "kernels/kernel_table.h"

namespace dsa::kernels {

#define DSA_DECLARE_TIER(tier)                     \
  namespace tier {                                 \
  extern const VectorKernels kVectorKernels;       \
  extern const MatmulKernels kMatmulKernels;       \
  extern const IndexerKernels kIndexerKernels;     \
  extern const AttentionKernels kAttentionKernels; \
  extern const PeakKernels kPeakKernels;           \
  extern const TrainKernels kTrainKernels;         \
  }
DSA_DECLARE_TIER(scalar)
DSA_DECLARE_TIER(avx2)
DSA_DECLARE_TIER(avx512)
#undef DSA_DECLARE_TIER

namespace {

constexpr KernelTable kScalar = {"scalar",
                                 &scalar::kVectorKernels,
                                 &scalar::kMatmulKernels,
                                 &scalar::kIndexerKernels,
                                 &scalar::kAttentionKernels,
                                 &scalar::kPeakKernels,
                                 &scalar::kTrainKernels};
constexpr KernelTable kAvx2 = {"avx2",
                               &avx2::kVectorKernels,
                               &avx2::kMatmulKernels,
                               &avx2::kIndexerKernels,
                               &avx2::kAttentionKernels,
                               &avx2::kPeakKernels,
                               &avx2::kTrainKernels};
constexpr KernelTable kAvx512 = {"avx512",
                                 &avx512::kVectorKernels,
                                 &avx512::kMatmulKernels,
                                 &avx512::kIndexerKernels,
                                 &avx512::kAttentionKernels,
                                 &avx512::kPeakKernels,
                                 &avx512::kTrainKernels};

// clang 14 has no name for f16c: CPUID leaf 1, ECX bit 29.
bool has_f16c() noexcept {
  unsigned eax = 1;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
  return (ecx & (1U << 29)) != 0;
}

}  // namespace

const KernelTable* scalar_table() noexcept {
  return &kScalar;
}

// Asked once: CPUID traps in a virtual machine. __builtin_cpu_supports also asks the operating
// system (XGETBV) whether it saves the registers.
const KernelTable* avx2_table() noexcept {
  static const bool runs = [] {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  }();
  return runs ? &kAvx2 : nullptr;
}

const KernelTable* avx512_table() noexcept {
  static const bool runs = [] {
    __builtin_cpu_init();
    return avx2_table() != nullptr && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("bmi2");
  }();
  return runs ? &kAvx512 : nullptr;
}

const KernelTable* chosen_table() noexcept {
  const char* forced = std::getenv("DSA_CPU_TIER");
  const KernelTable* const tiers[] = {avx512_table(), avx2_table(), scalar_table()};
  for (const KernelTable* table : tiers) {
    if (table == nullptr) continue;
    if (forced == nullptr || *forced == '\0' || std::strcmp(forced, table->tier_name) == 0) {
      return table;
    }
  }
  return nullptr;
}

}  // namespace dsa::kernels
