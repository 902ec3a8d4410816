#include "layers/wanted_rows.h"

namespace dsa {

std::vector<WantedRow> wanted_rows(std::span<const PlacedStep> steps,
                                   RowsWanted PlacedStep::*field) {
  std::vector<WantedRow> wanted;
  size_t first_row = 0;
  for (size_t s = 0; s < steps.size(); ++s) {
    const size_t n = steps[s].tokens.size();
    const RowsWanted which = steps[s].*field;
    const size_t skip = which == RowsWanted::kAll ? 0 : which == RowsWanted::kLast ? n - 1 : n;
    for (size_t i = skip; i < n; ++i) {
      wanted.push_back({first_row + i, s, steps[s].first_position + static_cast<int64_t>(i)});
    }
    first_row += n;
  }
  return wanted;
}

}  // namespace dsa
