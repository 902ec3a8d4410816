// The row-wise kernels of training, gradients against finite differences in float64.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/tiers.h"
#include "tests/kernels/vector_cases.h"

namespace dsa::kernels {
namespace {

using Row = std::vector<double>;

class TrainKernel : public TierTest {
 protected:
  static const TrainKernels& train() { return *kernels().train; }
};

constexpr float kNormEps = 1e-5F;
constexpr double kBound = 2e-5;  // f32 sums of some hundred terms of the order of 1
const size_t kLengths[] = {1, 2, 15, 16, 17, 33, 64, 100};

Row as_row(const std::vector<float>& x) {
  return Row(x.begin(), x.end());
}

std::vector<float> values(size_t n, unsigned seed) {
  const auto row = normal_row(n, seed);
  return {row.data(), row.data() + n};
}

// d f / d x[i]
Row slopes(const std::function<double(const Row&)>& f, Row x) {
  Row out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i];
    x[i] = kept + 1e-5;
    const double above = f(x);
    x[i] = kept - 1e-5;
    out[i] = (above - f(x)) / 2e-5;
    x[i] = kept;
  }
  return out;
}

Row rms_norm(const Row& x, const Row& weight) {
  double square = 0;
  for (const double value : x)
    square += value * value / static_cast<double>(x.size());
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = x[i] / std::sqrt(square + double{kNormEps}) * weight[i];
  return y;
}

Row layer_norm(Row x, const Row& weight, const Row& bias) {
  double mean = 0;
  for (const double value : x)
    mean += value / static_cast<double>(x.size());
  for (double& value : x)
    value -= mean;
  x = rms_norm(x, weight);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] += bias[i];
  return x;
}

double inner(const Row& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * double{b[i]};
  return sum;
}

void expect_near(const std::vector<float>& got, const Row& want) {
  double size = 1;
  for (const double value : want)
    size = std::max(size, std::fabs(value));
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_LE(std::fabs(double{got[i]} - want[i]), kBound * size) << i << " of " << want.size();
}

TEST_P(TrainKernel, RmsNormBackwardAddsTheGradientOfRmsNorm) {
  for (const size_t n : kLengths) {
    const auto x = values(n, 1);
    const auto weight = values(n, 2);
    const auto dy = values(n, 3);
    std::vector<float> dx(n, 0.0F);
    std::vector<float> dweight(n, 0.0F);
    train().rms_norm_backward(x.data(), weight.data(), dy.data(), n, kNormEps, dx.data(),
                              dweight.data());
    const auto of = [&](const Row& a, const Row& w) { return inner(rms_norm(a, w), dy); };
    expect_near(dx, slopes([&](const Row& a) { return of(a, as_row(weight)); }, as_row(x)));
    expect_near(dweight, slopes([&](const Row& w) { return of(as_row(x), w); }, as_row(weight)));
    const std::vector<float> once = dx;
    train().rms_norm_backward(x.data(), weight.data(), dy.data(), n, kNormEps, dx.data(), nullptr);
    for (size_t i = 0; i < n; ++i)
      EXPECT_FLOAT_EQ(dx[i], 2 * once[i]);
  }
}

TEST_P(TrainKernel, LayerNormBackwardIsTheGradientOfLayerNormAlsoInPlace) {
  for (const size_t n : kLengths) {
    if (n < 3) continue;  // the gradient of so few is nothing but rounding
    const auto x = values(n, 4);
    const auto weight = values(n, 5);
    const auto bias = values(n, 6);
    const auto dy = values(n, 7);
    std::vector<float> dx = dy;
    std::vector<float> dweight(n, 0.0F);
    std::vector<float> dbias(n, 1.0F);
    train().layer_norm_backward(x.data(), weight.data(), dx.data(), n, kNormEps, dx.data(),
                                dweight.data(), dbias.data());
    const auto of = [&](const Row& a, const Row& w) {
      return inner(layer_norm(a, w, as_row(bias)), dy);
    };
    expect_near(dx, slopes([&](const Row& a) { return of(a, as_row(weight)); }, as_row(x)));
    expect_near(dweight, slopes([&](const Row& w) { return of(as_row(x), w); }, as_row(weight)));
    for (size_t i = 0; i < n; ++i)
      EXPECT_FLOAT_EQ(dbias[i], 1.0F + dy[i]);
  }
}

TEST_P(TrainKernel, SiluMulBackwardIsTheGradientOfSiluMul) {
  for (const size_t n : kLengths) {
    const auto gate = values(n, 8);
    const auto up = values(n, 9);
    const auto dy = values(n, 10);
    const auto of = [&](const Row& g, const Row& u) {
      double sum = 0;
      for (size_t i = 0; i < n; ++i)
        sum += g[i] / (1 + std::exp(-g[i])) * u[i] * double{dy[i]};
      return sum;
    };
    std::vector<float> dgate = gate;
    std::vector<float> dup = up;
    train().silu_mul_backward(dy.data(), n, dgate.data(), dup.data());
    expect_near(dgate, slopes([&](const Row& g) { return of(g, as_row(up)); }, as_row(gate)));
    expect_near(dup, slopes([&](const Row& u) { return of(as_row(gate), u); }, as_row(up)));
  }
}

TEST_P(TrainKernel, ExpRowsIsTheSoftmaxFromItsLogSumExpAndZeroBeyondTheLimit) {
  const size_t m = 4;
  const size_t n = 37;
  const auto logits = values(m * n, 11);
  const int32_t limit[] = {37, 5, -3, 1000};
  const float lse[] = {1.0F, 2.0F, 0.0F, -1.0F};
  std::vector<float> p = logits;
  std::vector<float> sum(m * n, 0.5F);
  train().add_exp_rows({p.data(), n, m, n, limit}, 0.3F, lse, 2.0F, sum.data(), n);
  EXPECT_EQ(p, logits);
  train().exp_rows({p.data(), n, m, n, limit}, 0.3F, lse);
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) {
      const double want = static_cast<int64_t>(j) < limit[i]
                              ? std::exp(double{0.3F} * double{logits[i * n + j]} - double{lse[i]})
                              : 0.0;
      EXPECT_LE(std::fabs(double{p[i * n + j]} - want), 1e-6 * want);
      EXPECT_LE(std::fabs(double{sum[i * n + j]} - (0.5 + 2 * want)), 1e-6 * (1 + want));
    }
  }
}

TEST_P(TrainKernel, SoftmaxBackwardIsTheGradientOfTheLogits) {
  const size_t n = 35;
  const auto logits = values(n, 12);
  const auto dp = values(n, 13);
  const double scale = 0.7;
  const auto softmax = [&](const Row& s) {
    Row p(n);
    double sum = 0;
    for (size_t j = 0; j < n; ++j)
      sum += p[j] = std::exp(scale * s[j]);
    for (double& x : p)
      x /= sum;
    return p;
  };
  const Row p = softmax(as_row(logits));
  const std::vector<float> weights(p.begin(), p.end());
  const auto delta = static_cast<float>(inner(p, dp));
  std::vector<float> ds = dp;
  train().softmax_backward({ds.data(), n, 1, n, nullptr}, weights.data(), n,
                           static_cast<float>(scale), &delta);
  expect_near(ds, slopes([&](const Row& s) { return inner(softmax(s), dp); }, as_row(logits)));
}

// scores of [n_heads, n] products, and the KL of their softmax.
struct IndexCase {
  static constexpr size_t kHeads = 3;
  size_t n;
  std::vector<float> qk;
  std::vector<float> w;
  std::vector<float> p;

  explicit IndexCase(size_t count)
      : n(count), qk(values(kHeads * count, 14)), w(values(kHeads, 15)), p(values(count, 16)) {
    double sum = 0;
    for (float& x : p)
      sum += double{x = std::fabs(x) + 0.01F};
    for (float& x : p)
      x = static_cast<float>(double{x} / sum);
  }

  Row scores(const Row& products, const Row& weights) const {
    Row s(n);
    for (size_t h = 0; h < kHeads; ++h) {
      for (size_t j = 0; j < n; ++j)
        s[j] += weights[h] * std::max(products[h * n + j], 0.0);
    }
    return s;
  }
  double kl(const Row& s) const {
    double sum = 0;
    for (const double x : s)
      sum += std::exp(x);
    double loss = 0;
    for (size_t j = 0; j < n; ++j)
      loss += double{p[j]} * (std::log(double{p[j]}) - s[j] + std::log(sum));
    return loss;
  }
};

TEST_P(TrainKernel, KlRowAndIndexScoresBackwardGiveTheGradientOfTheKl) {
  for (const size_t n : {1UL, 17UL, 300UL}) {
    const IndexCase c(n);
    std::vector<float> scores(n);
    train().index_scores(c.qk.data(), n, IndexCase::kHeads, n, c.w.data(), scores.data());
    const Row want = c.scores(as_row(c.qk), as_row(c.w));
    expect_near(scores, want);
    double sum = 0;
    for (const double s : want)
      sum += std::exp(s);
    const double loss =
        train().kl_row(c.p.data(), scores.data(), n, static_cast<float>(std::log(sum)), 0.5F);
    EXPECT_LE(std::fabs(loss - c.kl(want)), 1e-5);
    expect_near(scores, slopes([&](const Row& s) { return 0.5 * c.kl(s); }, want));
    std::vector<float> d_qk = c.qk;
    std::vector<float> dw(IndexCase::kHeads, 0.0F);
    train().index_scores_backward(d_qk.data(), n, IndexCase::kHeads, n, c.w.data(), scores.data(),
                                  dw.data());
    expect_near(d_qk, slopes([&](const Row& x) { return 0.5 * c.kl(c.scores(x, as_row(c.w))); },
                             as_row(c.qk)));
    expect_near(dw, slopes([&](const Row& x) { return 0.5 * c.kl(c.scores(as_row(c.qk), x)); },
                           as_row(c.w)));
  }
}

TEST_P(TrainKernel, KlOfATargetWithZerosIsFinite) {
  const std::vector<float> p = {0.0F, 1.0F, 0.0F};
  std::vector<float> scores = {-200.0F, 0.0F, 1.0F};
  const double loss = train().kl_row(p.data(), scores.data(), 3, 1.3132617F, 1.0F);
  EXPECT_LE(std::fabs(loss - 1.3132617), 1e-5);
  EXPECT_EQ(scores[0], 0.0F);
}

TEST_P(TrainKernel, NaNStaysVisible) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> gate = {nan};
  std::vector<float> up = {1.0F};
  const float dy = 1;
  train().silu_mul_backward(&dy, 1, gate.data(), up.data());
  EXPECT_TRUE(std::isnan(gate[0]));
  std::vector<float> s = {nan, 0.0F};
  const float lse = 0;
  train().exp_rows({s.data(), 2, 1, 2, nullptr}, 1.0F, &lse);
  EXPECT_TRUE(std::isnan(s[0]));
}

DSA_INSTANTIATE_TIERS(TrainKernel);

}  // namespace
}  // namespace dsa::kernels
