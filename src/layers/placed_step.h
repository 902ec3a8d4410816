// One sequence's share of a batch, whose tokens have their places in the cache.
#pragma once

#include <cstdint>
#include <span>

#include "dsa/forward.h"

namespace dsa {

struct PlacedStep {
  std::span<const int32_t> tokens;
  int64_t first_position = 0;      // of tokens[0] in its sequence
  std::span<const int32_t> pages;  // of the sequence; rows of the tokens are reserved
  RowsWanted logits = RowsWanted::kNone;
  RowsWanted hidden = RowsWanted::kNone;
  bool selections = true;  // whether hooks see what its queries attend to

  int64_t length() const { return first_position + static_cast<int64_t>(tokens.size()); }
};

inline size_t count_tokens(std::span<const PlacedStep> steps) {
  size_t n = 0;
  for (const PlacedStep& step : steps)
    n += step.tokens.size();
  return n;
}

}  // namespace dsa
