#include "kernels/tiers.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace dsa::kernels {
namespace {

const KernelTable* chosen_with(const std::string& name) {
  setenv("DSA_CPU_TIER", name.c_str(), 1);
  const KernelTable* table = chosen_table();
  unsetenv("DSA_CPU_TIER");
  return table;
}

TEST(Tiers, BeginWithTheOneThatRunsEverywhere) {
  ASSERT_FALSE(tiers().empty());
  EXPECT_STREQ(tiers().front().table->tier_name, "scalar");
  EXPECT_TRUE(tiers().front().runs_here);
  EXPECT_EQ(&scalar_table(), tiers().front().table);
}

TEST(Tiers, FillEveryTableOfTheirKernels) {
  for (const Tier& tier : tiers()) {
    EXPECT_NE(tier.table->vector, nullptr);
    EXPECT_NE(tier.table->matmul, nullptr);
    EXPECT_NE(tier.table->indexer, nullptr);
    EXPECT_NE(tier.table->attention, nullptr);
    EXPECT_NE(tier.table->peak, nullptr);
    EXPECT_NE(tier.table->train, nullptr);
  }
}

TEST(Tiers, AreChosenByNameAndElseTheFastestThatRuns) {
  const KernelTable* fastest = nullptr;
  for (const Tier& tier : tiers()) {
    EXPECT_EQ(chosen_with(tier.table->tier_name), tier.runs_here ? tier.table : nullptr);
    if (tier.runs_here) fastest = tier.table;
  }
  EXPECT_EQ(chosen_with(""), fastest);
  EXPECT_EQ(chosen_with("mmx"), nullptr);
}

TEST(Tiers, ReachTheirPeakLoops) {
  for (const Tier& tier : tiers()) {
    if (!tier.runs_here) continue;
    EXPECT_GT(tier.table->peak->f32_dot(1000), 1000) << tier.table->tier_name;
  }
}

}  // namespace
}  // namespace dsa::kernels
