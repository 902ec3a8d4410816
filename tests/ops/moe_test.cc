#include "ops/moe.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

namespace dsa {
namespace {

struct Routed {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

Routed route(const RouterConfig& config, const std::vector<float>& logits) {
  Routed result = {std::vector<int32_t>(config.n_chosen), std::vector<float>(config.n_chosen)};
  route(config, logits.data(), result.experts.data(), result.weights.data());
  return result;
}

RouterConfig config(size_t n_experts, size_t n_chosen, const float* bias = nullptr) {
  RouterConfig result;
  result.n_experts = n_experts;
  result.n_chosen = n_chosen;
  result.bias = bias;
  return result;
}

float sigmoid(float x) {
  return 1.0F / (1.0F + std::exp(-x));
}

TEST(Route, ChoosesTheBestAndNormalisesTheirWeights) {
  RouterConfig c = config(4, 2);
  c.scaling = 2.5F;
  const Routed routed = route(c, {0.0F, 2.0F, -1.0F, 1.0F});
  EXPECT_THAT(routed.experts, testing::ElementsAre(1, 3));
  const float sum = sigmoid(2) + sigmoid(1);
  EXPECT_FLOAT_EQ(routed.weights[0], 2.5F * sigmoid(2) / sum);
  EXPECT_FLOAT_EQ(routed.weights[1], 2.5F * sigmoid(1) / sum);
}

TEST(Route, WeighsBySoftmaxOverAllExperts) {
  RouterConfig c = config(3, 2);
  c.softmax = true;
  c.normalise = false;
  c.scaling = 2.0F;
  const Routed routed = route(c, {1.0F, -2.0F, 100.0F});
  EXPECT_THAT(routed.experts, testing::ElementsAre(0, 2));
  EXPECT_FLOAT_EQ(routed.weights[0], 2.0F * std::exp(-99.0F));
  EXPECT_FLOAT_EQ(routed.weights[1], 2.0F);
}

TEST(Route, CountsAGroupByItsBestWhereThereIsNoBias) {
  RouterConfig c = config(4, 1);
  c.softmax = true;
  c.n_groups = 2;
  c.n_chosen_groups = 1;
  EXPECT_THAT(route(c, {3.0F, -9.0F, 2.0F, 2.0F}).experts, testing::ElementsAre(0));
}

TEST(Route, UsesTheBiasForTheChoiceOnly) {
  const float bias[] = {0, 0, 10, 0};
  RouterConfig c = config(4, 1, bias);
  c.normalise = false;
  const Routed routed = route(c, {3.0F, 0.0F, -2.0F, 0.0F});
  EXPECT_THAT(routed.experts, testing::ElementsAre(2));
  EXPECT_FLOAT_EQ(routed.weights[0], sigmoid(-2));
}

TEST(Route, KeepsTheGroupsWithTheBestTwo) {
  const float bias[] = {0, 0, 0, 0, 0, 0};
  RouterConfig c = config(6, 2, bias);
  c.n_groups = 3;
  c.n_chosen_groups = 1;
  // The best expert (0) stands in a weaker group than 2 and 3 together.
  const Routed routed = route(c, {4.0F, -9.0F, 2.0F, 2.0F, 1.0F, 1.0F});
  EXPECT_THAT(routed.experts, testing::ElementsAre(2, 3));
}

TEST(Route, ComparesGroupsByTheirBestWithoutABias) {
  RouterConfig c = config(6, 2);
  c.n_groups = 3;
  c.n_chosen_groups = 1;
  const Routed routed = route(c, {4.0F, -9.0F, 2.0F, 2.0F, 1.0F, 1.0F});
  EXPECT_THAT(routed.experts, testing::ElementsAre(0, 1));
}

// A masked group must lose to negative choices too.
TEST(Route, NeverChoosesOutsideTheKeptGroups) {
  const float bias[] = {-5, -5, -6, -6};
  RouterConfig c = config(4, 2, bias);
  c.n_groups = 2;
  c.n_chosen_groups = 1;
  EXPECT_THAT(route(c, {0, 0, 0, 0}).experts, testing::ElementsAre(0, 1));
}

TEST(Route, TakesTheLowestOfEqualsAndPutsNanLast) {
  EXPECT_THAT(route(config(4, 2), {1, 1, 1, 1}).experts, testing::ElementsAre(0, 1));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(route(config(3, 2), {nan, -50, 0}).experts, testing::ElementsAre(1, 2));
  EXPECT_THAT(route(config(2, 2), {nan, nan}).experts, testing::ElementsAre(0, 1));
}

}  // namespace
}  // namespace dsa
