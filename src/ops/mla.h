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

// W_UK or W_UV: a matrix per head, all in one stored matrix.
struct HeadWeights {
  Weight stored;
  size_t first_row = 0;     // of head 0
  size_t rows = 0;          // of a head, as stored
  size_t rows_between = 0;  // from one head to the next
  // W_UK: [d_nope, d_latent], W_UV: [d_v, d_latent]; transposed: stored the other way round.
  bool transposed = false;

  Weight head(size_t h) const { return stored.row_slice(first_row + h * rows_between, rows); }
};

struct MlaWeights {
  HeadWeights w_uk;
  HeadWeights w_uv;
};

// Views of a matrix [n_heads * (d_nope + d_v), d_latent] that has W_UK and W_UV of each head.
MlaWeights split_kv_up(const Weight& kv_up, size_t d_nope, size_t d_v);

// The twins that the attention reads of its queries. Where it reads bf16, it rounds keys, values
// and softmax weights of the expanded form, too.
Twins query_twins(const OpContext& context, const MlaWeights& weights);

struct MlaQueries {
  // [n_queries, n_heads, d_nope + d_rope] after RoPE, ld = n_heads * d_q, with query_twins().
  Activation q;
  size_t n_queries = 0;
  size_t first_position = 0;  // query i stands at first_position + i
  // The step's own rows, [n_queries, d_latent + d_rope] f32: the latent as the cache gives it back,
  // the rope key as computed, before a cache format rounds it. In f32 a step of several queries
  // reads its own tokens from here, as DeepSeek's reference does; in bf16 products the rope key is
  // rounded anyway. null: everything is read from the cache.
  const float* own_rows = nullptr;
};

struct MlaLimits {
  size_t max_queries = 0;
  size_t max_context = 0;
  size_t max_selected = 0;
};

struct AbsorbedScratch {
  RowBuffer q;                // [tile, n_heads * d_row]
  RowBuffer out;              // [tile, n_heads * d_latent]
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

  void plan(const OpContext& context,
            const MlaDims& dims,
            const LatentLayout& layout,
            Twins twins,
            const MlaLimits& limits,
            ScratchPlan* plan);
};

struct ExpandedScratch {
  RowBuffer latents;         // [kLatentTile, d_row]
  uint8_t* heads = nullptr;  // [threads] keys, values, scores of one head's tile
  size_t head_bytes = 0;
  float* row_max = nullptr;  // [n_heads, max_queries]
  float* row_sum = nullptr;
  uint64_t* visible = nullptr;  // [max_queries, visible_words] selected positions as bits
  size_t visible_words = 0;     // enough for every context in which the expanded form can win

  void plan(const OpContext& context,
            const MlaDims& dims,
            Twins twins,
            const MlaLimits& limits,
            ScratchPlan* plan);
};

// Of both forms, sized once. twins: all that the weights of any layer read.
struct MlaScratch {
  AbsorbedScratch absorbed;
  ExpandedScratch expanded;

  void plan(const OpContext& context,
            const MlaDims& dims,
            const LatentLayout& layout,
            Twins twins,
            const MlaLimits& limits,
            ScratchPlan* plan);
};

// The attention of one step.
struct MlaStep {
  const MlaDims& dims;
  MlaQueries queries;
  const MlaWeights& weights;
  LatentCacheView cache;
  SelectionLists lists;  // query i attends to row i; positions null: to all up to its own
  MlaScratch* scratch = nullptr;
  float* out = nullptr;  // [n_queries, n_heads * d_v]
};

void mla_attention(const OpContext& context, const MlaStep& step);

}  // namespace dsa
