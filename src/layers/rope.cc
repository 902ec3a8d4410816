#include "layers/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dsa {

namespace {

// The (fractional) pair index that turns `rotations` times within the original context.
double correction_dim(const RopeConfig& config, double d_rope, double rotations) {
  const auto original = static_cast<double>(config.original_max_position);
  return d_rope * std::log(original / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(config.theta));
}

}  // namespace

RopeTable rope_table(const RopeConfig& config, size_t d_rope) {
  const auto d = static_cast<double>(d_rope);
  RopeTable table = {std::vector<float>(d_rope / 2), static_cast<float>(config.attention_factor)};
  std::vector<float>& frequencies = table.frequencies;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = static_cast<float>(std::pow(config.theta, -2.0 * static_cast<double>(i) / d));
  }
  if (config.factor == 1) return table;
  if (config.scaling == RopeScaling::kLinear) {
    for (float& frequency : frequencies)
      frequency /= static_cast<float>(config.factor);
    return table;
  }
  const double low = std::max(std::floor(correction_dim(config, d, config.beta_fast)), 0.0);
  double high = std::min(std::ceil(correction_dim(config, d, config.beta_slow)), d - 1.0);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const auto frequency = static_cast<double>(frequencies[i]);
    frequencies[i] =
        static_cast<float>(frequency / config.factor * ramp + frequency * (1.0 - ramp));
  }
  return table;
}

void rope_angles(const RopeTable& table, size_t position, float* cos, float* sin) {
  for (size_t i = 0; i < table.frequencies.size(); ++i) {
    // The reference multiplies in f32.
    const float angle = static_cast<float>(position) * table.frequencies[i];
    cos[i] = std::cos(angle) * table.factor;
    sin[i] = std::sin(angle) * table.factor;
  }
}

void apply_rope(const kernels::VectorKernels& kernels,
                RopeLayout layout,
                const float* cos,
                const float* sin,
                size_t d_rope,
                float* x) {
  if (layout == RopeLayout::kInterleaved) {
    kernels.rope_interleaved(x, cos, sin, d_rope);
  } else {
    kernels.rope_half_split(x, cos, sin, d_rope);
  }
}

}  // namespace dsa
