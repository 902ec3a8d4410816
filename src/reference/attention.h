// Oracle of attention over cached rows: plain loops in double, softmax in two passes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/cache_layout.h"

namespace dsa::reference {

// A stored row: [d_latent + d_rope], scales multiplied in.
std::vector<double> latent_row(const LatentLayout& layout, const uint8_t* row);

struct HeadAttention {
  std::vector<double> out;        // [d_latent]
  std::vector<double> magnitude;  // [d_latent] sum_j p_j |row_j|: what rounding is relative to
  double lse = 0;
  double logit_magnitude = 0;  // the largest |scale| * sum |q row_j|
};

// One head. q: [d_latent + d_rope]; every row is visible and of the same length. No row: zeros
// and -inf.
HeadAttention attend(std::span<const float> q,
                     const std::vector<std::vector<double>>& rows,
                     size_t d_latent,
                     double scale);

}  // namespace dsa::reference
