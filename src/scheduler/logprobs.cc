#include "scheduler/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dsa::scheduler {

double log_normaliser(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) {
    if (std::isfinite(logit)) largest = std::max(largest, logit);
  }
  if (!std::isfinite(largest)) return 0;
  double sum = 0;
  for (const float logit : logits) {
    if (std::isfinite(logit))
      sum += std::exp(static_cast<double>(logit) - static_cast<double>(largest));
  }
  return static_cast<double>(largest) + std::log(sum);
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits,
                                       double normaliser,
                                       int32_t n) {
  const auto ranks_before = [&logits](int32_t a, int32_t b) {
    const float la = logits[static_cast<size_t>(a)];
    const float lb = logits[static_cast<size_t>(b)];
    return la > lb || (la == lb && a < b);
  };
  std::vector<int32_t> best;  // a heap whose first is the worst of the n
  for (size_t i = 0; i < logits.size() && n > 0; ++i) {
    if (!std::isfinite(logits[i])) continue;
    const auto id = static_cast<int32_t>(i);
    if (best.size() == static_cast<size_t>(n)) {
      if (!ranks_before(id, best.front())) continue;
      std::pop_heap(best.begin(), best.end(), ranks_before);
      best.pop_back();
    }
    best.push_back(id);
    std::push_heap(best.begin(), best.end(), ranks_before);
  }
  std::sort_heap(best.begin(), best.end(), ranks_before);
  std::vector<TokenLogprob> result;
  for (const int32_t id : best) {
    const auto logit = static_cast<double>(logits[static_cast<size_t>(id)]);
    result.push_back({id, static_cast<float>(logit - normaliser)});
  }
  return result;
}

}  // namespace dsa::scheduler
