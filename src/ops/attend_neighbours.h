// Attention of neighbouring queries over the positions that each has selected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/cache_view.h"
#include "ops/context.h"
#include "ops/indexer.h"
#include "ops/row_union.h"

namespace dsa {

// Neighbours select mostly the same rows. Queries are taken in tiles whose size depends on the
// number of heads alone; where the lists of a tile share at least a quarter of their entries, their
// union is gathered and converted once, and each query is multiplied with the rows it selected and
// no others.
//
// Guaranteed: the same bits for any number of threads. A query's result depends on the other
// queries of its tile in its rounding only: they decide in which order its rows are added. No value
// of a row reaches a query that did not select it.
struct NeighbourAttention {
  LatentCacheView cache;
  SelectionLists lists;  // of the first query on; positions without repetition
  size_t n_queries = 0;
  size_t n_heads = 0;
  float scale = 0;
  const float* q = nullptr;  // [n_queries, n_heads, d_latent + d_rope]
  float* out = nullptr;      // [n_queries, n_heads, d_latent]
  float* lse = nullptr;      // [n_queries, n_heads]
};

// unions: one for each thread; attend_scratch: [threads] of attend_bytes, as attend_rows() has it.
void attend_neighbours(const OpContext& context,
                       const NeighbourAttention& args,
                       std::span<RowUnion> unions,
                       uint8_t* attend_scratch,
                       size_t attend_bytes);

}  // namespace dsa
