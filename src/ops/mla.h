// Multi-head latent attention of one sequence's queries over its cached rows, in two forms that
// agree in real arithmetic:
//
//   absorbed   q~ = W_UK^T q_nope; every head attends to the cached rows themselves
//              (key = [latent ; rope], value = latent); o = W_UV o~
//   expanded   keys and values of every head are computed from the latents, tile by tile:
//              k = [W_UK latent ; rope], v = W_UV latent
//
// The form is chosen by counting multiplications: absorbed reads only the selected rows, expanded
// does less per (query, row) pair. The choice depends on the step alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/cache_view.h"
#include "ops/context.h"
#include "ops/indexer.h"
#include "ops/list_parts.h"
#include "ops/matmul.h"
#include "ops/row_union.h"
#include "ops/rows.h"
#include "runtime/scratch.h"
#include "tensor/weight.h"

namespace dsa {

struct MlaDims {
  size_t n_heads = 0;
  size_t d_latent = 0;
  size_t d_rope = 0;
  size_t d_nope = 0;
  size_t d_v = 0;
  float scale = 0;

  size_t d_q() const { return d_nope + d_rope; }
  size_t d_row() const { return d_latent + d_rope; }
};

struct MlaQueries {
  Activation q;  // [n_queries, n_heads, d_nope + d_rope] after RoPE, ld = n_heads * d_q
  size_t n_queries = 0;
  size_t first_position = 0;  // query i stands at first_position + i
  // The step's own rows, [n_queries, d_latent + d_rope] f32: the latent as the cache gives it back,
  // the rope key as computed, before a cache format rounds it. In f32 a step of several queries
  // reads its own tokens from here, as DeepSeek's reference does; in bf16 products the rope key is
  // rounded anyway. null: everything is read from the cache.
  const float* own_rows = nullptr;
};

// Scratch of both forms, sized once.
struct MlaScratch {
  RowBuffer absorbed_q;       // [tile, n_heads * d_row]
  RowBuffer absorbed_out;     // [tile, n_heads * d_latent]
  float* part_out = nullptr;  // [2 * tile + kMaxAttentionParts, n_heads, d_latent]
  float* part_lse = nullptr;
  float* lse = nullptr;           // [tile, n_heads]
  int32_t* rows = nullptr;        // [tile, max_selected] or [max_context]
  int32_t* counts = nullptr;      // [tile]
  int32_t* own_list = nullptr;    // [tile, max_queries] rows of the step itself
  int32_t* own_counts = nullptr;  // [tile]
  size_t own_stride = 0;
  uint8_t* attend = nullptr;  // [threads]
  size_t attend_bytes = 0;
  std::vector<RowUnion> unions;  // [threads]
  RowBuffer latents;             // [kLatentTile, d_row]
  uint8_t* expanded = nullptr;   // [threads] keys, values, scores of one head's tile
  size_t expanded_bytes = 0;
  float* row_max = nullptr;  // [n_heads, max_queries]
  float* row_sum = nullptr;
  uint64_t* visible = nullptr;  // [max_queries, visible_words] selected positions as bits
  size_t visible_words = 0;     // enough for every context in which the expanded form can win

  void plan(const OpContext& context,
            const MlaDims& dims,
            const LatentLayout& layout,
            bool bf16,
            size_t max_queries,
            size_t max_context,
            size_t max_selected,
            ScratchPlan* plan);
};

// out: [n_queries, n_heads * d_v] f32. Query i attends to lists row i, or, when lists.positions is
// null, to all positions up to its own.
// kv_b: [n_heads * (d_nope + d_v), d_latent], per head W_UK then W_UV.
void mla_attention(const OpContext& context,
                   const MlaDims& dims,
                   const MlaQueries& queries,
                   const Weight& kv_b,
                   const LatentCacheView& cache,
                   const SelectionLists& lists,
                   MlaScratch* scratch,
                   float* out);

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
