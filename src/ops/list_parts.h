// The parts in which attention goes over a long list of rows. They are computed apart and merged in
// order. The cuts depend on the length of the list alone: not on the number of threads, nor on what
// else is computed at the time.
#pragma once

#include <algorithm>
#include <cstddef>

#include "common/math.h"

namespace dsa {

inline constexpr size_t kMaxAttentionParts = 8;

struct ListParts {
  size_t n_parts;    // at least 1
  size_t part_rows;  // of each but the last
};

inline ListParts list_parts(size_t n_rows) {
  constexpr size_t kMinRows = 512;  // of a part, where there is more than one
  constexpr size_t kStep = 64;
  const size_t n_parts = std::clamp<size_t>(n_rows / kMinRows, 1, kMaxAttentionParts);
  return {n_parts, round_up(ceil_div(n_rows, n_parts), kStep)};
}

}  // namespace dsa
