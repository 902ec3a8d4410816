// The kernels built on exp: silu_mul, softmax, log_sum_exp.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "reference/vector.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/tiers.h"
#include "tests/kernels/vector_cases.h"

namespace dsa::kernels {
namespace {

using reference::Row;

class VectorExp : public TierTest {
 protected:
  static const VectorKernels& vector() { return *kernels().vector; }
};

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kExpError = 0x1p-22;  // relative, of the kernels' exp
constexpr double kFlushed = 0x1p-125;  // results below this may become 0

TEST_P(VectorExp, SiluMulStaysAccurateOverTheWholeRangeOfExp) {
  std::vector<float> gates = {0.0F, -0.0F, 1e-30F, -1e-30F, 100.0F, -100.0F, 1e30F, -1e30F};
  for (int i = -9000; i <= 9000; ++i)
    gates.push_back(static_cast<float>(i) * 0.01F + 1e-4F);
  const Input<float> gate(gates);
  const auto up = normal_row(gates.size(), 21);
  GuardedBuffer<float> out(gates.size(), 1);
  vector().silu_mul(gate.data(), up.data(), gates.size(), out.data());
  const Row want = reference::silu_mul(gate.span(), up.span());
  for (size_t i = 0; i < gates.size(); ++i) {
    const double tolerance = (kExpError + 4 * kEps) * std::abs(want[i]) + 100 * kFlushed;
    ASSERT_LE(std::abs(double{out[i]} - want[i]), tolerance) << "gate " << gates[i];
  }
  EXPECT_TRUE(out.guards_intact());
}

TEST_P(VectorExp, SiluMulTakesEveryLengthAndMayOverwriteEitherInput) {
  for (const size_t n : row_lengths()) {
    const auto gate = normal_row(n, 22);
    const auto up = normal_row(n, 23);
    GuardedBuffer<float> out(n, n % 3);
    vector().silu_mul(gate.data(), up.data(), n, out.data());
    const Row want = reference::silu_mul(gate.span(), up.span());
    auto over_gate = gate;
    auto over_up = up;
    vector().silu_mul(over_gate.data(), up.data(), n, over_gate.data());
    vector().silu_mul(gate.data(), over_up.data(), n, over_up.data());
    for (size_t i = 0; i < n; ++i) {
      ASSERT_LE(std::abs(double{out[i]} - want[i]), (kExpError + 4 * kEps) * std::abs(want[i]));
      ASSERT_EQ(out[i], over_gate[i]);
      ASSERT_EQ(out[i], over_up[i]);
    }
    ASSERT_TRUE(out.guards_intact()) << n;
  }
}

TEST_P(VectorExp, SiluMulPropagatesNan) {
  std::vector<float> gate(19, 1.0F);
  gate[17] = std::nanf("");
  const std::vector<float> up(19, 1.0F);
  std::vector<float> out(19);
  vector().silu_mul(gate.data(), up.data(), 19, out.data());
  for (size_t i = 0; i < out.size(); ++i)
    EXPECT_EQ(std::isnan(out[i]), i == 17);
}

// A sum of n exponentials, each rounded, of arguments that are themselves rounded differences.
double softmax_error(size_t n, double distance) {
  return sum_error(n) + 2 * kExpError + 2 * kEps * distance;
}

TEST_P(VectorExp, SoftmaxMatchesItsDefinition) {
  for (const size_t n : row_lengths()) {
    if (n == 0) continue;
    auto x = normal_row(n, 24);
    for (size_t i = 0; i < n; ++i)
      x[i] *= 8;  // down to e^-60
    GuardedBuffer<float> p(n, n % 4);
    p.fill({x.data(), x.data() + n});
    vector().softmax(p.data(), n);
    const Row want = reference::softmax(x.span());
    for (size_t i = 0; i < n; ++i) {
      const double tolerance = softmax_error(n, 100) * want[i] + kFlushed;
      ASSERT_LE(std::abs(double{p[i]} - want[i]), tolerance) << n << " " << i;
    }
    ASSERT_TRUE(p.guards_intact()) << n;
  }
}

// With one entry far above, softmax shows exp itself: p = e^x / (1 + e^x).
TEST_P(VectorExp, ExpIsAccurateDownToWhereItVanishes) {
  for (int i = 0; i <= 8700; ++i) {
    const float x = static_cast<float>(-i) * 0.01F;
    std::vector<float> p = {x, 0.0F};
    vector().softmax(p.data(), 2);
    const double want = std::exp(double{x}) / (1 + std::exp(double{x}));
    ASSERT_LE(std::abs(double{p[0]} - want), (kExpError + 8 * kEps) * want + kFlushed) << x;
  }
  for (const float x : {-87.4F, -100.0F, -1e5F, -1e30F}) {
    std::vector<float> p = {0.0F, x, 0.0F};
    vector().softmax(p.data(), 3);
    EXPECT_EQ(p, (std::vector<float>{0.5F, 0.0F, 0.5F})) << x;
  }
}

TEST_P(VectorExp, SoftmaxGivesZeroWhereTheInputIsMinusInfinity) {
  for (const size_t n : {1UL, 2UL, 15UL, 16UL, 17UL, 100UL}) {
    std::vector<float> x(n, -kInf);
    vector().softmax(x.data(), n);
    EXPECT_EQ(x, std::vector<float>(n, 0.0F)) << "all of " << n;

    x.assign(n, -kInf);
    x[n / 2] = 3.0F;
    vector().softmax(x.data(), n);
    std::vector<float> one_hot(n, 0.0F);
    one_hot[n / 2] = 1.0F;
    EXPECT_EQ(x, one_hot);
  }
}

TEST_P(VectorExp, SoftmaxIsNanThroughoutWhenAnEntryIs) {
  for (const size_t bad : {0UL, 16UL, 18UL}) {
    for (const float rest : {1.0F, -kInf}) {
      std::vector<float> x(19, rest);
      x[bad] = std::nanf("");
      vector().softmax(x.data(), x.size());
      for (const float v : x)
        EXPECT_TRUE(std::isnan(v));
    }
  }
}

TEST_P(VectorExp, LogSumExpMatchesItsDefinition) {
  for (const size_t n : row_lengths()) {
    auto x = normal_row(n, 25);
    for (size_t i = 0; i < n; ++i)
      x[i] = x[i] * 6 + 40;
    const double want = reference::log_sum_exp(x.span());
    const float got = vector().log_sum_exp(x.data(), n);
    if (n == 0) {
      EXPECT_EQ(got, -kInf);
      continue;
    }
    // An error relative to the sum is absolute in its logarithm.
    const double tolerance = softmax_error(n, 100) + 2 * kEps * std::abs(want);
    ASSERT_LE(std::abs(double{got} - want), tolerance) << n;
  }
}

TEST_P(VectorExp, LogSumExpOfOneEntryIsThatEntry) {
  for (const float x : {-1e30F, -3.25F, 0.0F, 7.5F, 1e30F, kInf, -kInf})
    EXPECT_EQ(vector().log_sum_exp(&x, 1), x);
}

TEST_P(VectorExp, LogSumExpKeepsInfinitiesAndNan) {
  const std::vector<float> masked(21, -kInf);
  EXPECT_EQ(vector().log_sum_exp(masked.data(), masked.size()), -kInf);
  std::vector<float> x(21, 1.0F);
  x[20] = kInf;
  EXPECT_EQ(vector().log_sum_exp(x.data(), x.size()), kInf);
  x[3] = std::nanf("");
  EXPECT_TRUE(std::isnan(vector().log_sum_exp(x.data(), x.size())));
}

DSA_INSTANTIATE_TIERS(VectorExp);

}  // namespace
}  // namespace dsa::kernels
