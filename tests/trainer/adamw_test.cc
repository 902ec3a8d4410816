#include "trainer/adamw.h"

#include <gtest/gtest.h>

#include <cmath>

#include "trainer/schedule.h"

namespace dsa::trainer {
namespace {

// f32 arithmetic over a few dozen operations.
constexpr double kTolerance = 1e-5;

struct Values {
  std::vector<float> value;
  std::vector<float> gradient;
  backprop::Parameter parameter;

  Values(size_t n, backprop::ParameterRole role, bool of_indexer) : value(n), gradient(n) {
    for (size_t i = 0; i < n; ++i) {
      value[i] = 0.1F * static_cast<float>(i % 7) - 0.3F;
      gradient[i] = 0.01F * static_cast<float>(i % 11) - 0.04F;
    }
    parameter.size = n;
    parameter.role = role;
    parameter.of_indexer = of_indexer;
    parameter.value = value.data();
    parameter.gradient = gradient.data();
  }
};

double expected(double w, double g, double rate, double decay, double scale, int steps) {
  const AdamWOptions o;
  double m = 0;
  double v = 0;
  for (int t = 1; t <= steps; ++t) {
    m = o.beta1 * m + (1 - o.beta1) * g * scale;
    v = o.beta2 * v + (1 - o.beta2) * g * scale * g * scale;
    const double update =
        m / (1 - std::pow(o.beta1, t)) / (std::sqrt(v / (1 - std::pow(o.beta2, t))) + o.eps);
    w -= rate * (decay * w + update);
  }
  return w;
}

TEST(AdamW, FollowsItsFormula) {
  ThreadPool pool(2);
  for (const bool indexer : {false, true}) {
    Values p(70000, backprop::ParameterRole::kMatrix, indexer);
    const std::vector<float> before = p.value;
    AdamW adamw(std::span(&p.parameter, 1), {}, &pool);
    for (int t = 1; t <= 3; ++t)
      adamw.update(t, {0.01, 0.5}, {0.02, 1});
    for (const size_t i : {0U, 1U, 8U, 69999U}) {
      const double want = expected(double{before[i]}, double{p.gradient[i]}, indexer ? 0.02 : 0.01,
                                   0.1, indexer ? 1 : 0.5, 3);
      EXPECT_LE(std::fabs(double{p.value[i]} - want), kTolerance) << i;
    }
  }
}

TEST(AdamW, DecaysMatricesAlone) {
  ThreadPool pool(1);
  Values p(16, backprop::ParameterRole::kVector, false);
  std::fill(p.gradient.begin(), p.gradient.end(), 0.0F);
  const std::vector<float> before = p.value;
  AdamW adamw(std::span(&p.parameter, 1), {}, &pool);
  adamw.update(1, {0.1, 1}, {0.1, 1});
  EXPECT_EQ(p.value, before);
}

TEST(AdamW, LeavesWhatHasNoGradient) {
  ThreadPool pool(1);
  Values p(16, backprop::ParameterRole::kRouterBias, false);
  p.parameter.gradient = nullptr;
  AdamW adamw(std::span(&p.parameter, 1), {}, &pool);
  EXPECT_TRUE(adamw.slots().empty());
}

TEST(AdamW, MeasuresTheModelAndItsIndexersApart) {
  ThreadPool pool(1);
  std::vector<Values> values;
  values.reserve(2);
  values.emplace_back(100000, backprop::ParameterRole::kMatrix, false);
  values.emplace_back(10, backprop::ParameterRole::kMatrix, true);
  std::fill(values[0].gradient.begin(), values[0].gradient.end(), 0.5F);
  std::fill(values[1].gradient.begin(), values[1].gradient.end(), 2.0F);
  const std::vector<backprop::Parameter> parameters = {values[0].parameter, values[1].parameter};
  const AdamW adamw(parameters, {}, &pool);
  EXPECT_LE(std::fabs(adamw.gradient_norm(false) - std::sqrt(25000.0)), 1e-9);
  EXPECT_LE(std::fabs(adamw.gradient_norm(true) - std::sqrt(40.0)), 1e-9);
  ThreadPool four(4);
  const AdamW same(parameters, {}, &four);
  EXPECT_EQ(same.gradient_norm(false), adamw.gradient_norm(false));
}

TEST(Schedule, GrowsLinearlyAndFallsAsACosine) {
  const Schedule s{.peak = 2, .final_ratio = 0.1, .warmup_steps = 4, .n_steps = 105};
  EXPECT_DOUBLE_EQ(s.rate(0), 0.5);
  EXPECT_DOUBLE_EQ(s.rate(3), 2);
  EXPECT_DOUBLE_EQ(s.rate(4), 2);
  EXPECT_NEAR(s.rate(54), 2 * 0.55, 1e-12);
  EXPECT_NEAR(s.rate(104), 0.2, 1e-12);
  EXPECT_NEAR(s.rate(1000), 0.2, 1e-12);
}

TEST(Schedule, StaysWhereTheRatioIsOne) {
  const Schedule s{.peak = 1e-3, .final_ratio = 1, .warmup_steps = 0, .n_steps = 1};
  EXPECT_DOUBLE_EQ(s.rate(0), 1e-3);
  EXPECT_DOUBLE_EQ(s.rate(1), 1e-3);
}

}  // namespace
}  // namespace dsa::trainer
