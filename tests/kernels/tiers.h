// Runs a test once per instruction-set tier; a tier this CPU cannot run shows up as skipped.
//
//   class RmsNorm : public TierTest {};
//   TEST_P(RmsNorm, DividesByTheRootOfTheMeanSquare) { kernels().vector->rms_norm(...); }
//   DSA_INSTANTIATE_TIERS(RmsNorm);
//
// A suite with further parameters takes testing::Combine(testing::ValuesIn(tiers()), ...).
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <vector>

#include "kernels/tiers.h"

namespace dsa::kernels {

inline void PrintTo(const Tier& tier, std::ostream* out) {
  *out << tier.table->tier_name;
}

// For tests that compare tiers with each other.
inline std::vector<const KernelTable*> runnable_tables() {
  std::vector<const KernelTable*> runnable;
  for (const Tier& tier : tiers()) {
    if (tier.runs_here) runnable.push_back(tier.table);
  }
  return runnable;
}

class TierTest : public testing::TestWithParam<Tier> {
 protected:
  void SetUp() override {
    if (!GetParam().runs_here) {
      GTEST_SKIP() << "this CPU cannot run the tier " << GetParam().table->tier_name;
    }
  }

  static const KernelTable& kernels() { return *GetParam().table; }
};

#define DSA_INSTANTIATE_TIERS(suite)                                              \
  INSTANTIATE_TEST_SUITE_P(Tier, suite, testing::ValuesIn(dsa::kernels::tiers()), \
                           [](const auto& tier) { return tier.param.table->tier_name; })

}  // namespace dsa::kernels
