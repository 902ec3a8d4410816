#include "reference/vector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/tiers.h"
#include "tests/kernels/vector_cases.h"

namespace dsa::kernels {
namespace {

using reference::Row;

class VectorKernel : public TierTest {
 protected:
  static const VectorKernels& vector() { return *kernels().vector; }
};

TEST_P(VectorKernel, RmsNormDividesByTheRootOfTheMeanSquare) {
  for (const size_t n : row_lengths()) {
    const auto x = normal_row(n, 1);
    const auto weight = normal_row(n, 2);
    GuardedBuffer<float> out(n, n % 5);
    vector().rms_norm(x.data(), weight.data(), n, 1e-6F, out.data());
    const Row want = reference::rms_norm(x.span(), weight.span(), double{1e-6F});
    for (size_t i = 0; i < n; ++i)
      ASSERT_LE(std::abs(double{out[i]} - want[i]), sum_error(n) * std::abs(want[i])) << n;
    ASSERT_TRUE(out.guards_intact()) << n;
  }
}

TEST_P(VectorKernel, RmsNormOfZerosIsZeroAndOfNanIsNan) {
  std::vector<float> x(37, 0.0F);
  const std::vector<float> weight(37, 2.0F);
  std::vector<float> out(37, 1.0F);
  vector().rms_norm(x.data(), weight.data(), x.size(), 1e-6F, out.data());
  EXPECT_EQ(out, std::vector<float>(37, 0.0F));
  x[36] = std::nanf("");
  vector().rms_norm(x.data(), weight.data(), x.size(), 1e-6F, out.data());
  for (const float v : out)
    EXPECT_TRUE(std::isnan(v));
}

TEST_P(VectorKernel, NormsMayWriteOverTheirInput) {
  for (const size_t n : {1UL, 31UL, 130UL}) {
    const auto x = normal_row(n, 3);
    const auto weight = normal_row(n, 4);
    const auto bias = normal_row(n, 5);
    std::vector<float> apart(n);
    auto in_place = x;
    vector().rms_norm(x.data(), weight.data(), n, 1e-5F, apart.data());
    vector().rms_norm(in_place.data(), weight.data(), n, 1e-5F, in_place.data());
    for (size_t i = 0; i < n; ++i)
      EXPECT_EQ(in_place[i], apart[i]);
    in_place = x;
    vector().layer_norm(x.data(), weight.data(), bias.data(), n, 1e-5F, apart.data());
    vector().layer_norm(in_place.data(), weight.data(), bias.data(), n, 1e-5F, in_place.data());
    for (size_t i = 0; i < n; ++i)
      EXPECT_EQ(in_place[i], apart[i]);
  }
}

TEST_P(VectorKernel, LayerNormSubtractsTheMeanFirst) {
  for (const size_t n : row_lengths()) {
    if (n == 0) continue;
    const auto x = normal_row(n, 6, 3.0F);
    const auto weight = normal_row(n, 7);
    const auto bias = normal_row(n, 8);
    GuardedBuffer<float> out(n, n % 3);
    vector().layer_norm(x.data(), weight.data(), bias.data(), n, 1e-6F, out.data());
    const Row want = reference::layer_norm(x.span(), weight.span(), bias.span(), double{1e-6F});

    double mean = 0;
    double magnitude = 0;
    for (size_t i = 0; i < n; ++i) {
      mean += double{x[i]} / static_cast<double>(n);
      magnitude += std::abs(double{x[i]}) / static_cast<double>(n);
    }
    double variance = 0;
    for (size_t i = 0; i < n; ++i)
      variance += (double{x[i]} - mean) * (double{x[i]} - mean) / static_cast<double>(n);
    // The mean is off by sum_error of the mean magnitude; that shifts every element.
    const double scale = 1.0 / std::sqrt(variance + 1e-6);
    for (size_t i = 0; i < n; ++i) {
      const double shifted = (magnitude + std::abs(double{x[i]} - mean)) * scale;
      const double tolerance = sum_error(n) * shifted * std::abs(double{weight[i]}) +
                               4 * kEps * (std::abs(want[i]) + std::abs(double{bias[i]}));
      ASSERT_LE(std::abs(double{out[i]} - want[i]), tolerance) << "n=" << n << " i=" << i;
    }
    ASSERT_TRUE(out.guards_intact()) << n;
  }
}

TEST_P(VectorKernel, RopeTurnsEachPairByItsAngle) {
  for (size_t n = 0; n <= 132; n += 2) {
    const auto x = normal_row(n, 9);
    Input<float> cos(n / 2, 1);
    Input<float> sin(n / 2, 3);
    for (size_t i = 0; i < n / 2; ++i) {
      const float angle = 0.37F * static_cast<float>(i) + 0.1F;
      cos[i] = std::cos(angle);
      sin[i] = std::sin(angle);
    }
    for (const bool interleaved : {true, false}) {
      GuardedBuffer<float> row(n, n % 5);
      row.fill({x.data(), x.data() + n});
      (interleaved ? vector().rope_interleaved : vector().rope_half_split)(row.data(), cos.data(),
                                                                           sin.data(), n);
      const Row want = interleaved ? reference::rope_interleaved(x.span(), cos.span(), sin.span())
                                   : reference::rope_half_split(x.span(), cos.span(), sin.span());
      for (size_t i = 0; i < n; ++i) {
        const size_t partner = interleaved ? i ^ 1U : (i + n / 2) % n;
        const double radius = std::abs(double{x[i]}) + std::abs(double{x[partner]});
        ASSERT_LE(std::abs(double{row[i]} - want[i]), 3 * kEps * radius) << n << " " << i;
      }
      ASSERT_TRUE(row.guards_intact());
    }
  }
}

TEST_P(VectorKernel, HadamardMatchesTheMatrixOfSigns) {
  for (size_t n = 1; n <= 1024; n *= 2) {
    const auto x = normal_row(n, 10);
    GuardedBuffer<float> row(n, 3);
    row.fill({x.data(), x.data() + n});
    vector().hadamard(row.data(), n);
    const Row want = reference::hadamard(x.span());
    double magnitude = 0;
    for (size_t i = 0; i < n; ++i)
      magnitude += std::abs(double{x[i]}) / std::sqrt(static_cast<double>(n));
    const double tolerance = (std::log2(static_cast<double>(n)) + 2) * kEps * magnitude;
    for (size_t i = 0; i < n; ++i)
      ASSERT_LE(std::abs(double{row[i]} - want[i]), tolerance) << n << " " << i;
    ASSERT_TRUE(row.guards_intact());
  }
}

TEST_P(VectorKernel, HadamardTwiceGivesTheRowBack) {
  const auto x = normal_row(128, 11);
  auto twice = x;
  vector().hadamard(twice.data(), 128);
  vector().hadamard(twice.data(), 128);
  for (size_t i = 0; i < 128; ++i)
    EXPECT_NEAR(twice[i], x[i], 2 * 9 * kEps * 128);  // two transforms of at most |x| <= 4 each
}

TEST_P(VectorKernel, AddScaledAddsAMultiple) {
  for (const size_t n : row_lengths()) {
    const auto x = normal_row(n, 12);
    const auto y = normal_row(n, 13);
    GuardedBuffer<float> sum(n, n % 4);
    sum.fill({y.data(), y.data() + n});
    vector().add_scaled(x.data(), -0.75F, n, sum.data());
    for (size_t i = 0; i < n; ++i) {
      const double product = -0.75 * double{x[i]};
      const double tolerance = 2 * kEps * (std::abs(product) + std::abs(double{y[i]}));
      ASSERT_LE(std::abs(double{sum[i]} - (product + double{y[i]})), tolerance);
    }
    ASSERT_TRUE(sum.guards_intact()) << n;
  }
}

DSA_INSTANTIATE_TIERS(VectorKernel);

}  // namespace
}  // namespace dsa::kernels
