#include "scheduler/step_budget.h"

#include <algorithm>

namespace dsa::scheduler {

namespace {

constexpr double kNewest = 0.25;  // weight of the newest time

}  // namespace

double StepBudget::decode_seconds(int64_t n_decoded) const {
  if (n_decoded_ == 0 || n_decoded == 0) return 0;
  // More sequences share the reading of the weights: this is the most they can take.
  return decode_ * std::max(1.0, static_cast<double>(n_decoded) / static_cast<double>(n_decoded_));
}

int64_t StepBudget::chunks(int64_t n_decoded, double seconds) const {
  if (!(chunk_ > 0)) return 1;
  const double left = seconds - decode_seconds(n_decoded);
  return left > 0 ? static_cast<int64_t>(std::min(left / chunk_, 1e6)) : 0;
}

bool StepBudget::decode_now(double waited, double seconds) const {
  return waited + part_ + decode_ > seconds;
}

void StepBudget::record(int64_t n_decoded, double n_chunks, double seconds) {
  if (n_chunks <= 0) {
    n_decoded_ = n_decoded;
    decode_ = seconds;
    return;
  }
  const double sample = std::max(0.0, seconds - decode_seconds(n_decoded)) / n_chunks;
  chunk_ = std::max(sample, (1 - kNewest) * chunk_ + kNewest * sample);
}

void StepBudget::record_part(double seconds) {
  part_ = std::max(seconds, (1 - kNewest) * part_ + kNewest * seconds);
}

}  // namespace dsa::scheduler
