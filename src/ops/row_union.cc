#include "ops/row_union.h"

#include <algorithm>

#include "common/math.h"

namespace dsa {

namespace {

constexpr size_t kSets = size_t{1} << RowUnion::kMaxQueries;

// Sets bits [begin, end).
void set_bits(size_t begin, size_t end, uint64_t* words) {
  while (begin < end) {
    const size_t first = begin % 64;
    const size_t n = std::min(end - begin, 64 - first);
    words[begin / 64] |= (~uint64_t{0} >> (64 - n)) << first;
    begin += n;
  }
}

}  // namespace

void RowUnion::plan(size_t max_selected, size_t max_context, ScratchPlan* plan) {
  const size_t most = std::min(kMaxQueries * max_selected, max_context);
  words = ceil_div(most, size_t{64});
  plan->add(&positions, most + 1);
  plan->add(&found, most + 1);
  plan->add(&visible, kMaxQueries * words);
  plan->add(&seen_by, max_context);
}

void RowUnion::build(const int32_t* lists, size_t stride, const int32_t* counts, size_t n_queries) {
  n_positions = 0;
  for (size_t i = 0; i < n_queries; ++i) {
    const int32_t* list = lists + i * stride;
    for (int32_t j = 0; j < counts[i]; ++j) {
      uint8_t& queries = seen_by[list[j]];
      found[n_positions] = list[j];
      n_positions += queries == 0 ? 1 : 0;
      queries = static_cast<uint8_t>(queries | 1U << i);
    }
  }
  size_t begin[kSets + 1] = {};  // of the rows each set of queries sees
  for (size_t j = 0; j < n_positions; ++j)
    ++begin[seen_by[found[j]] + 1];
  std::fill_n(visible, n_queries * words, uint64_t{0});
  for (size_t set = 1; set < kSets; ++set) {
    begin[set + 1] += begin[set];
    if (begin[set + 1] == begin[set]) continue;
    for (size_t i = 0; i < n_queries; ++i) {
      if ((set >> i & 1) != 0) set_bits(begin[set], begin[set + 1], visible + i * words);
    }
  }
  for (size_t j = 0; j < n_positions; ++j) {
    uint8_t& queries = seen_by[found[j]];
    positions[begin[queries]++] = found[j];
    queries = 0;
  }
}

}  // namespace dsa
