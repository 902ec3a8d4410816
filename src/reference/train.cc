#include "reference/train.h"

#include <algorithm>
#include <cmath>

namespace dsa::reference {
namespace {

double wide(float value) {
  return static_cast<double>(value);
}

// y = xhat weight with xhat = (x - shift) / root: the shift is the mean, or 0 and constant.
NormGradient norm_backward(std::span<const float> x,
                           std::span<const float> weight,
                           std::span<const float> dy,
                           double eps,
                           bool centred) {
  const size_t n = x.size();
  const auto count = static_cast<double>(n);
  double mean = 0;
  for (const float value : x)
    mean += centred ? wide(value) / count : 0;
  double square = 0;
  for (const float value : x)
    square += (wide(value) - mean) * (wide(value) - mean) / count;
  const double root = std::sqrt(square + eps);
  // Means of g = dy weight and of g xhat.
  double of_g = 0;
  double of_product = 0;
  double of_g_magnitude = 0;
  double of_product_magnitude = 0;
  for (size_t i = 0; i < n; ++i) {
    const double g = wide(dy[i]) * wide(weight[i]);
    const double xhat = (wide(x[i]) - mean) / root;
    of_g += centred ? g / count : 0;
    of_g_magnitude += centred ? std::fabs(g) / count : 0;
    of_product += g * xhat / count;
    of_product_magnitude += std::fabs(g * xhat) / count;
  }
  NormGradient out = {{Row(n), Row(n)}, Row(n)};
  for (size_t i = 0; i < n; ++i) {
    const double g = wide(dy[i]) * wide(weight[i]);
    const double xhat = (wide(x[i]) - mean) / root;
    out.dx.value[i] = (g - of_g - xhat * of_product) / root;
    out.dx.magnitude[i] =
        (std::fabs(g) + of_g_magnitude + (std::fabs(xhat) + 1) * of_product_magnitude) / root;
    out.dweight[i] = wide(dy[i]) * xhat;
  }
  return out;
}

}  // namespace

NormGradient rms_norm_backward(std::span<const float> x,
                               std::span<const float> weight,
                               std::span<const float> dy,
                               double eps) {
  return norm_backward(x, weight, dy, eps, false);
}

NormGradient layer_norm_backward(std::span<const float> x,
                                 std::span<const float> weight,
                                 std::span<const float> dy,
                                 double eps) {
  return norm_backward(x, weight, dy, eps, true);
}

SiluMulGradient silu_mul_backward(std::span<const float> dy,
                                  std::span<const float> gate,
                                  std::span<const float> up) {
  SiluMulGradient out = {Row(dy.size()), Row(dy.size())};
  for (size_t i = 0; i < dy.size(); ++i) {
    const double sigmoid = 1 / (1 + std::exp(-wide(gate[i])));
    const double slope = sigmoid * (1 + wide(gate[i]) * (1 - sigmoid));
    out.gate[i] = wide(dy[i]) * wide(up[i]) * slope;
    out.up[i] = wide(dy[i]) * wide(gate[i]) * sigmoid;
  }
  return out;
}

Gradient index_scores(std::span<const float> qk, std::span<const float> w) {
  const size_t n = qk.size() / w.size();
  Gradient out = {Row(n), Row(n)};
  for (size_t h = 0; h < w.size(); ++h) {
    for (size_t j = 0; j < n; ++j) {
      const double term = wide(w[h]) * std::max(wide(qk[h * n + j]), 0.0);
      out.value[j] += term;
      out.magnitude[j] += std::fabs(term);
    }
  }
  return out;
}

IndexScoresGradient index_scores_backward(std::span<const float> qk,
                                          std::span<const float> w,
                                          std::span<const float> dscores) {
  const size_t n = dscores.size();
  IndexScoresGradient out = {Row(qk.size()), {Row(w.size()), Row(w.size())}};
  for (size_t h = 0; h < w.size(); ++h) {
    for (size_t j = 0; j < n; ++j) {
      const double product = wide(qk[h * n + j]);
      if (product <= 0) continue;
      out.qk[h * n + j] = wide(dscores[j]) * wide(w[h]);
      out.dw.value[h] += wide(dscores[j]) * product;
      out.dw.magnitude[h] += std::fabs(wide(dscores[j]) * product);
    }
  }
  return out;
}

KlRow kl_row(std::span<const float> p, std::span<const float> scores, double lse, double factor) {
  KlRow out;
  for (size_t j = 0; j < p.size(); ++j) {
    const double log_p = std::log(std::max(wide(p[j]), 1e-10));
    const double log_q = wide(scores[j]) - lse;
    out.value += wide(p[j]) * (log_p - log_q);
    out.magnitude += wide(p[j]) * (std::fabs(log_p) + std::fabs(wide(scores[j])) + std::fabs(lse));
    out.dscores.push_back(factor * (std::exp(log_q) - wide(p[j])));
  }
  return out;
}

}  // namespace dsa::reference
