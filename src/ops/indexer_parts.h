// What the two ways of indexing share.
#pragma once

#include <algorithm>

#include "common/math.h"
#include "ops/indexer.h"

namespace dsa {

// Positions [0, keep_first) and the last keep_recent of n, and the best of those between, into
// out; returns how many. scratch: IndexerScratch::top_k_bytes.
size_t select_row(const OpContext& context,
                  const float* scores,
                  size_t n,
                  const SelectionRule& rule,
                  int32_t* out,
                  void* scratch);

// What the scores of one tile are computed from.
struct KeyRange {
  const uint8_t* base;
  const int32_t* pages;
  size_t n_keys;
};

inline constexpr size_t kKeysPerItem = 2048;  // keys scored by one work item

// body(args) for parts of the keys, split over the threads; out: [n_queries, n_keys].
template <class Body>
void for_each_key_range(const OpContext& context,
                        const IndexerDims& dims,
                        const void* const* packed,
                        size_t n_queries,
                        const KeyRange& keys,
                        float* out,
                        size_t ld_out,
                        const Body& body) {
  const auto n_items = static_cast<int64_t>(ceil_div(keys.n_keys, kKeysPerItem));
  context.pool->parallel_for(n_items, [&](int64_t item, int) {
    kernels::IndexScoresArgs args;
    args.queries = packed;
    args.n_queries = n_queries;
    args.n_heads = dims.n_heads;
    args.layout = dims.layout;
    args.base = keys.base;
    args.page_stride = dims.layout.page_bytes();
    args.pages = keys.pages;
    args.first = static_cast<size_t>(item) * kKeysPerItem;
    args.last = std::min(args.first + kKeysPerItem, keys.n_keys);
    args.out = out + args.first;
    args.ld_out = ld_out;
    body(args);
  });
}

}  // namespace dsa
