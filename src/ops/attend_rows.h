// Attention of queries over lists of rows of a cache, split over the threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/cache_layout.h"
#include "ops/context.h"
#include "ops/list_parts.h"

namespace dsa {

// attend() over several queries with a list of rows each, split over threads: parts of long lists
// are computed apart and merged in a fixed order when there is only one query.
struct RowAttention {
  LatentLayout layout;
  const uint8_t* base = nullptr;
  const int32_t* rows = nullptr;    // query i: rows + i * rows_stride
  size_t rows_stride = 0;           // 0: all queries share one list
  const int32_t* counts = nullptr;  // [n_queries] entries of each query's list
  const float* q = nullptr;         // [n_queries, n_heads, d_row]
  size_t n_queries = 0;
  size_t n_heads = 0;
  float scale = 0;
  float* out = nullptr;   // [n_queries, n_heads, d_latent]
  size_t out_stride = 0;  // elements from one query to the next
  float* lse = nullptr;   // [n_queries, n_heads]
  size_t lse_stride = 0;
};

inline constexpr size_t kHeadsPerItem = 128;  // heads that share one gather of a row

// Bytes of one thread's scratch for attend_rows(), a multiple of 64.
size_t attend_scratch_bytes(const OpContext& context, const LatentLayout& layout, size_t n_heads);

// part_out: [kMaxAttentionParts, n_heads, d_latent], part_lse: [kMaxAttentionParts, n_heads];
// attend_scratch: [threads] of attend_bytes.
void attend_rows(const OpContext& context,
                 const RowAttention& args,
                 float* part_out,
                 float* part_lse,
                 uint8_t* attend_scratch,
                 size_t attend_bytes);

}  // namespace dsa
