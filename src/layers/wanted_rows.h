// The rows of a batch whose results somebody wants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "layers/placed_step.h"

namespace dsa {

struct WantedRow {
  size_t row;  // of the batch
  size_t step;
  int64_t position;  // of the token in its sequence
};

// In batch order. field: &PlacedStep::logits or &PlacedStep::hidden.
std::vector<WantedRow> wanted_rows(std::span<const PlacedStep> steps,
                                   RowsWanted PlacedStep::*field);

}  // namespace dsa
