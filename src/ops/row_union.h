// The rows that a tile of queries attends to, each once, with who attends to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/scratch.h"

namespace dsa {

// Rows come in the order of the set of queries that see them, so that a block of neighbouring rows
// is seen whole, or not at all, by most queries.
struct RowUnion {
  static constexpr size_t kMaxQueries = 8;

  int32_t* positions = nullptr;  // [n_positions]
  size_t n_positions = 0;
  uint64_t* visible = nullptr;  // [kMaxQueries, words] bit j % 64 of word j / 64: sees positions[j]
  size_t words = 0;
  int32_t* found = nullptr;    // scratch, as long as positions
  uint8_t* seen_by = nullptr;  // [max_context] queries as bits; zero between calls

  // For lists of up to max_selected positions below max_context.
  void plan(size_t max_selected, size_t max_context, ScratchPlan* plan);

  // Query i attends to lists[i * stride .. + counts[i]), none twice; n_queries <= kMaxQueries.
  void build(const int32_t* lists, size_t stride, const int32_t* counts, size_t n_queries);
};

}  // namespace dsa
