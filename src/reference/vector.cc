#include "reference/vector.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <limits>

namespace dsa::reference {
namespace {

double at(std::span<const float> values, size_t i) {
  return static_cast<double>(values[i]);
}

double mean(const Row& values) {
  double sum = 0;
  for (const double v : values)
    sum += v;
  return sum / static_cast<double>(values.size());
}

Row squares(const Row& values) {
  Row squared = values;
  for (double& v : squared)
    v *= v;
  return squared;
}

Row rotate(std::span<const float> x,
           std::span<const float> cos,
           std::span<const float> sin,
           size_t step,
           size_t distance) {
  Row out(x.size());
  for (size_t i = 0; i < cos.size(); ++i) {
    const size_t first = i * step;
    const std::complex<double> pair(at(x, first), at(x, first + distance));
    const std::complex<double> turned = pair * std::complex<double>(at(cos, i), at(sin, i));
    out[first] = turned.real();
    out[first + distance] = turned.imag();
  }
  return out;
}

}  // namespace

Row rms_norm(std::span<const float> x, std::span<const float> weight, double eps) {
  Row out(x.begin(), x.end());
  const double scale = 1.0 / std::sqrt(mean(squares(out)) + eps);
  for (size_t i = 0; i < x.size(); ++i)
    out[i] *= scale * at(weight, i);
  return out;
}

Row layer_norm(std::span<const float> x,
               std::span<const float> weight,
               std::span<const float> bias,
               double eps) {
  Row out(x.begin(), x.end());
  const double center = mean(out);
  for (double& v : out)
    v -= center;
  const double scale = 1.0 / std::sqrt(mean(squares(out)) + eps);
  for (size_t i = 0; i < x.size(); ++i)
    out[i] = out[i] * scale * at(weight, i) + at(bias, i);
  return out;
}

Row rope_interleaved(std::span<const float> x,
                     std::span<const float> cos,
                     std::span<const float> sin) {
  return rotate(x, cos, sin, 2, 1);
}

Row rope_half_split(std::span<const float> x,
                    std::span<const float> cos,
                    std::span<const float> sin) {
  return rotate(x, cos, sin, 1, x.size() / 2);
}

Row hadamard(std::span<const float> x) {
  Row out(x.size(), 0.0);
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t j = 0; j < x.size(); ++j)
      out[i] += std::popcount(i & j) % 2 == 0 ? at(x, j) : -at(x, j);
    out[i] /= std::sqrt(static_cast<double>(x.size()));
  }
  return out;
}

Row silu_mul(std::span<const float> gate, std::span<const float> up) {
  Row out(gate.size());
  for (size_t i = 0; i < gate.size(); ++i)
    out[i] = at(gate, i) / (1.0 + std::exp(-at(gate, i))) * at(up, i);
  return out;
}

Row softmax(std::span<const float> x) {
  const double total = log_sum_exp(x);
  Row out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    out[i] = std::isinf(total) ? 0.0 : std::exp(at(x, i) - total);
  }
  return out;
}

double log_sum_exp(std::span<const float> x) {
  if (x.empty()) return -std::numeric_limits<double>::infinity();
  const double greatest = static_cast<double>(*std::max_element(x.begin(), x.end()));
  if (std::isinf(greatest)) return greatest;
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i)
    sum += std::exp(at(x, i) - greatest);
  return greatest + std::log(sum);
}

}  // namespace dsa::reference
