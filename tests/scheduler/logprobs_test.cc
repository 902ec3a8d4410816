#include "scheduler/logprobs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace dsa::scheduler {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Logprobs, SumToOneAndRankByTheLowestIdOfEquals) {
  const std::vector<float> logits = {1, 3, 2, 3, -4};
  const std::vector<TokenLogprob> all = top_logprobs(logits, log_normaliser(logits), 10);
  ASSERT_EQ(all.size(), 5U);
  double sum = 0;
  for (const TokenLogprob& one : all)
    sum += std::exp(static_cast<double>(one.logprob));
  EXPECT_LE(std::abs(sum - 1), 1e-6);
  EXPECT_EQ(all[0].id, 1);
  EXPECT_EQ(all[1].id, 3);
  EXPECT_EQ(all[2].id, 2);
  const std::vector<TokenLogprob> two = top_logprobs(logits, log_normaliser(logits), 2);
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[1].id, 3);
  EXPECT_TRUE(top_logprobs(logits, 0, 0).empty());
}

TEST(Logprobs, LeaveOutWhatIsNotFinite) {
  const std::vector<float> logits = {kInf, std::nanf(""), 1, -kInf, 1000};
  const double normaliser = log_normaliser(logits);
  EXPECT_LE(std::abs(normaliser - 1000), 1e-9);
  const std::vector<TokenLogprob> best = top_logprobs(logits, normaliser, 5);
  ASSERT_EQ(best.size(), 2U);
  EXPECT_EQ(best[0].id, 4);
  EXPECT_EQ(best[1].id, 2);
  EXPECT_TRUE(std::isfinite(log_normaliser(std::vector<float>{-kInf, std::nanf("")})));
}

}  // namespace
}  // namespace dsa::scheduler
