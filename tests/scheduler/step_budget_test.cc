#include "scheduler/step_budget.h"

#include <gtest/gtest.h>

namespace dsa::scheduler {
namespace {

TEST(StepBudget, TakesOneChunkUntilItKnowsWhatChunksCost) {
  EXPECT_EQ(StepBudget().chunks(3, 10.0), 1);
  StepBudget budget;
  budget.record(3, 0, 0.01);
  EXPECT_EQ(budget.chunks(3, 10.0), 1);
}

TEST(StepBudget, FillsTheStepWithChunksOfTheCostSeenBesideDecoding) {
  StepBudget budget;
  budget.record(4, 0, 0.020);
  budget.record(4, 2, 0.120);              // 0.05 each
  EXPECT_EQ(budget.chunks(4, 0.200), 3);   // 0.02 + 3 * 0.05
  EXPECT_EQ(budget.chunks(8, 0.200), 3);   // 0.04 + 3 * 0.05
  EXPECT_EQ(budget.chunks(32, 0.200), 0);  // 0.16 + 0.05: not a whole one
  EXPECT_EQ(budget.chunks(4, 0.010), 0);
}

TEST(StepBudget, BelievesADearChunkAtOnceAndACheapOneSlowly) {
  StepBudget budget;
  budget.record(0, 1, 0.010);
  EXPECT_EQ(budget.chunks(1, 0.105), 10);
  budget.record(0, 1, 0.050);
  EXPECT_EQ(budget.chunks(1, 0.105), 2);
  budget.record(0, 1, 0.010);
  EXPECT_EQ(budget.chunks(1, 0.105), 2);
  for (int i = 0; i < 50; ++i)
    budget.record(0, 1, 0.010);
  EXPECT_EQ(budget.chunks(1, 0.105), 10);
}

TEST(StepBudget, DecodesBeforeThePartThatWouldMakeStreamsWaitTooLong) {
  StepBudget budget;
  budget.record(4, 0, 0.020);
  budget.record_part(0.010);
  EXPECT_FALSE(budget.decode_now(0.065, 0.100));
  EXPECT_TRUE(budget.decode_now(0.075, 0.100));
  budget.record_part(0.040);
  EXPECT_TRUE(budget.decode_now(0.045, 0.100));
}

}  // namespace
}  // namespace dsa::scheduler
