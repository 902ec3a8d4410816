// Oracle of the lightning indexer: plain loops in double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/cache_layout.h"

namespace dsa::reference {

// The key in slot `slot` of a page: [layout.dim], its scale multiplied in.
std::vector<double> index_key(const IndexKeyLayout& layout, const uint8_t* page, size_t slot);

struct IndexScore {
  double value;
  double magnitude;  // the same sum over absolute values: what rounding errors are relative to
};

// sum_h w[h] * max(<q[h], key>, 0);  q: [n_heads, dim], weights: [n_heads]
IndexScore index_score(std::span<const float> q,
                       std::span<const float> weights,
                       std::span<const double> key);

}  // namespace dsa::reference
