// The learning rate over the steps of a stage: linear growth, then half a cosine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace dsa::trainer {

struct Schedule {
  double peak = 0;
  double final_ratio = 1;  // of the last step's rate to the peak
  int64_t warmup_steps = 0;
  int64_t n_steps = 1;

  // step: from 0.
  double rate(int64_t step) const {
    if (step < warmup_steps) {
      return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
    }
    const auto span = static_cast<double>(std::max<int64_t>(n_steps - 1 - warmup_steps, 1));
    const double done = std::min(static_cast<double>(step - warmup_steps) / span, 1.0);
    const double cosine = 0.5 * (1 + std::cos(3.14159265358979323846 * done));
    return peak * (final_ratio + (1 - final_ratio) * cosine);
  }
};

}  // namespace dsa::trainer
