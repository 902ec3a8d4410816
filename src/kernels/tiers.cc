// Decides which tier this CPU may run. Compiled for the baseline, as is every tier's runs_here.cc:
// nothing else of a tier is called before that says so.
#include "kernels/tiers.h"

#include <cstdlib>
#include <cstring>

namespace dsa::kernels {

// CMakeLists.txt defines DSA_TIERS, slowest first, as DSA_TIER_ROW(scalar) ...
#define DSA_TIER_ROW(tier)                                                                   \
  namespace tier {                                                                           \
  extern const VectorKernels kVectorKernels;                                                 \
  extern const MatmulKernels kMatmulKernels;                                                 \
  extern const IndexerKernels kIndexerKernels;                                               \
  extern const AttentionKernels kAttentionKernels;                                           \
  extern const PeakKernels kPeakKernels;                                                     \
  extern const TrainKernels kTrainKernels;                                                   \
  bool runs_here() noexcept;                                                                 \
  static constexpr KernelTable kTable = {                                                    \
      #tier,         &kVectorKernels, &kMatmulKernels, &kIndexerKernels, &kAttentionKernels, \
      &kPeakKernels, &kTrainKernels,                                                         \
  };                                                                                         \
  }
DSA_TIERS
#undef DSA_TIER_ROW

// Asked once: CPUID traps in a virtual machine.
std::span<const Tier> tiers() noexcept {
#define DSA_TIER_ROW(tier) {&tier::kTable, tier::runs_here()},
  static const Tier all[] = {DSA_TIERS};
#undef DSA_TIER_ROW
  return all;
}

const KernelTable& scalar_table() noexcept {
  return *tiers().front().table;
}

const KernelTable* chosen_table() noexcept {
  const char* forced = std::getenv("DSA_CPU_TIER");
  const bool any = forced == nullptr || *forced == '\0';
  const KernelTable* chosen = nullptr;
  for (const Tier& tier : tiers()) {
    if (!tier.runs_here) continue;
    if (any || std::strcmp(forced, tier.table->tier_name) == 0) chosen = tier.table;
  }
  return chosen;
}

const char* architecture() noexcept {
  return DSA_ARCHITECTURE;
}

}  // namespace dsa::kernels
