#include "reference/top_k.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dsa::reference {

std::vector<int32_t> top_k(std::span<const float> scores, size_t k) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.rbegin(), order.rend(), 0);  // greater indices first; the sort keeps ties so
  const auto better = [&](int32_t a, int32_t b) {
    const float x = scores[static_cast<size_t>(a)];
    const float y = scores[static_cast<size_t>(b)];
    if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
    return x > y;
  };
  std::stable_sort(order.begin(), order.end(), better);
  order.resize(std::min(k, order.size()));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace dsa::reference
