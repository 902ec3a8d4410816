// Runs a test once per instruction-set tier; a tier this CPU cannot run shows up as skipped.
//
//   class RmsNorm : public TierTest {};
//   TEST_P(RmsNorm, DividesByTheRootOfTheMeanSquare) { kernels().vector->rms_norm(...); }
//   DSA_INSTANTIATE_TIERS(RmsNorm);
//
// A suite with further parameters takes testing::Combine(testing::ValuesIn(all_tiers()), ...).
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace dsa::kernels {

struct Tier {
  std::string name;
  const KernelTable* table = nullptr;  // null: this CPU cannot run it

  friend void PrintTo(const Tier& tier, std::ostream* out) { *out << tier.name; }
};

inline std::vector<Tier> all_tiers() {
  return {{"scalar", scalar_table()}, {"avx2", avx2_table()}, {"avx512", avx512_table()}};
}

// For tests that compare tiers with each other.
inline std::vector<Tier> runnable_tiers() {
  std::vector<Tier> runnable;
  for (const Tier& tier : all_tiers()) {
    if (tier.table != nullptr) runnable.push_back(tier);
  }
  return runnable;
}

class TierTest : public testing::TestWithParam<Tier> {
 protected:
  void SetUp() override {
    if (GetParam().table == nullptr) {
      GTEST_SKIP() << "this CPU cannot run the tier " << GetParam().name;
    }
  }

  static const KernelTable& kernels() { return *GetParam().table; }
};

#define DSA_INSTANTIATE_TIERS(suite)                                                  \
  INSTANTIATE_TEST_SUITE_P(Tier, suite, testing::ValuesIn(dsa::kernels::all_tiers()), \
                           [](const auto& tier) { return tier.param.name; })

}  // namespace dsa::kernels
