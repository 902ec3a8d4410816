// Lightning indexer: scores of cached keys, and the selection of the best k.
//
//   score[i, j] = s_j * sum_h w[i,h] * max(<q[i,h,:], key[j,:]>, 0)
//
// s_j is the key's scale (fp8; 1 otherwise). Scales of the query and constant factors are folded
// into w by the caller. Dots accumulate in f32. A score depends only on its query and its key,
// not on which range or block it is computed in. The dimension is even and at most 8192.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dsa/types.h"

#include "formats/cache_layout.h"

namespace dsa::kernels {

struct IndexScoresArgs {
  const void* const* queries = nullptr;  // [n_queries] packed by pack_query, 64-byte aligned
  size_t n_queries = 0;
  size_t n_heads = 0;
  IndexKeyLayout layout;
  const uint8_t* base = nullptr;   // pool of pages
  size_t page_stride = 0;          // bytes from one page to the next; >= layout.page_bytes()
  const int32_t* pages = nullptr;  // page number of positions [P p, P p + P), P: layout.page
  size_t first = 0;                // scores positions first .. last - 1; any alignment
  size_t last = 0;
  float* out = nullptr;  // [n_queries, last - first], row stride ld_out
  size_t ld_out = 0;
};

// A first pass over fp8 keys in int8, and how far off it can be:
//
//   |scores[i, j] - estimates[i, j]| <= gain_i * reach_j        wherever scores[i, j] is not NaN
//
// with the scores that IndexerKernels::scores computes, rounding included, below kLargestLeast in
// magnitude. docs/notebook/indexer.md has the proof.
struct IndexEstimateKernels {
  static constexpr float kLargestLeast = 1e38F;

  // Bytes of a query packed for estimates, a multiple of 64; 0 where a query of this shape cannot
  // be packed.
  size_t (*packed_bytes)(size_t n_heads, size_t dim) noexcept;

  // Takes what pack_query takes for fp8 keys. Returns the query's gain; infinite when the weights
  // leave nothing to say.
  float (*pack)(
      const float* q, const float* weights, size_t n_heads, size_t dim, void* packed) noexcept;

  // args as for scores, with queries packed by pack(); estimates into args.out.
  // reach: [last - first], shared by the queries.
  void (*estimates)(const IndexScoresArgs& args, float* reach) noexcept;

  // Positions i in [0, n) but for those where estimates[i] + gain * reach[i] < least, ascending,
  // into out; returns how many. Gives up and returns `capacity` when there may not be room for
  // all: a search that succeeds returns less. least <= kLargestLeast.
  size_t (*within_reach)(const float* estimates,
                         const float* reach,
                         float gain,
                         float least,
                         size_t n,
                         int32_t* out,
                         size_t capacity) noexcept;

  // scores() of a list of positions for one query: out[i] has the same bits as the score of
  // positions[i]. args.queries[0] is packed by pack_query; first, last and ld_out are not read.
  void (*scores_at)(const IndexScoresArgs& args, const int32_t* positions, size_t n) noexcept;
};

struct IndexerKernels {
  // Bytes of one packed query; a multiple of 64.
  size_t (*packed_query_bytes)(CacheFormat format, size_t n_heads, size_t dim) noexcept;

  // q: [n_heads, dim] f32 (for fp8 keys: the values of e4m3 codes, which are exact in bf16; for
  // bf16 keys rounded to bf16; for f32 keys kept), weights: [n_heads] f32.
  void (*pack_query)(CacheFormat format,
                     const float* q,
                     const float* weights,
                     size_t n_heads,
                     size_t dim,
                     void* packed) noexcept;

  void (*scores)(const IndexScoresArgs& args) noexcept;

  // Bytes of scratch top_k needs for n scores and a budget of k, and for any fewer of either.
  size_t (*top_k_scratch_bytes)(size_t n, size_t k) noexcept;

  // Indices of the min(n, k) best of scores[0..n), ascending, into out; returns how many.
  // Order: greater score first; equal scores (-0 equals +0): the greater index first; NaN after
  // everything else, among NaN the greater index first. Exact for every input.
  // scratch: 64-byte aligned.
  size_t (*top_k)(const float* scores, size_t n, size_t k, int32_t* out, void* scratch) noexcept;

  const IndexEstimateKernels* estimate;  // null: the tier has no fast products of int8
};

}  // namespace dsa::kernels
