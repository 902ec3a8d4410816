// Lightning indexer over a paged cache: scores of every visible key, the best k of them.
//
// Memory is bounded: scores exist for at most kMaxScoreBytes at a time, whatever the context.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cache_view.h"
#include "ops/context.h"
#include "runtime/scratch.h"

namespace dsa {

inline constexpr size_t kMaxScoreBytes = size_t{32} << 20;

// Keys are scored in full where more than one in kCandidateShare is within reach of the threshold,
// and in contexts where the int8 pass would save too little.
inline constexpr size_t kCandidateShare = 4;
inline constexpr size_t prune_context(size_t top_k) {
  return 8 * (top_k + 64);
}

// The lists of rows that queries attend to.
//   positions [n_queries, stride], ascending; counts [n_queries].
struct SelectionLists {
  int32_t* positions = nullptr;
  int32_t* counts = nullptr;
  size_t stride = 0;
};

struct IndexerDims {
  size_t n_heads = 0;
  size_t dim = 0;
  IndexKeyLayout layout;
};

// Scratch of the indexer, sized once for the largest chunk and context.
struct IndexerScratch {
  uint8_t* packed = nullptr;           // [max_queries] packed queries
  const void** packed_rows = nullptr;  // [max_queries] their addresses
  float* scores = nullptr;             // [tile queries, context]
  size_t n_scores = 0;
  uint8_t* top_k = nullptr;  // [threads] scratch of the selection
  size_t top_k_bytes = 0;
  size_t packed_bytes = 0;

  // For pruning (ops/indexer_prune.h); estimate_bytes is 0 where there is none.
  uint8_t* packed_estimates = nullptr;  // [max_queries]
  size_t estimate_bytes = 0;
  float* gains = nullptr;             // [max_queries]
  float* reach = nullptr;             // [context]
  int32_t* candidates = nullptr;      // [tile queries, context / kCandidateShare]
  size_t* n_candidates = nullptr;     // [max_queries]
  float* candidate_scores = nullptr;  // [threads, worker_candidates]
  size_t worker_candidates = 0;

  void plan(const OpContext& context,
            const IndexerDims& dims,
            size_t max_queries,
            size_t max_context,
            size_t max_k,
            ScratchPlan* plan);

 private:
  void plan_pruning(const kernels::IndexerKernels& kernels,
                    const IndexerDims& dims,
                    size_t max_queries,
                    size_t max_context,
                    int n_threads,
                    ScratchPlan* plan);
};

struct IndexerQueries {
  // Both are rounded in place to what the key format multiplies.
  float* q = nullptr;        // [n_queries, n_heads, dim] after RoPE and Hadamard
  float* weights = nullptr;  // [n_queries, n_heads] gates times n_heads^-0.5 dim^-0.5
  size_t n_queries = 0;
  size_t first_position = 0;  // query i stands at first_position + i and sees 0..that
};

struct SelectionRule {
  size_t top_k = 0;
  size_t keep_first = 0;   // always selected, inside the budget
  size_t keep_recent = 0;  // keep_first + keep_recent <= top_k
};

// Fills lists with each query's selection; scores_out (may be null) [n_queries, lists.stride] gets
// the score of each selected position.
void index_and_select(const OpContext& context,
                      const IndexerDims& dims,
                      const IndexerQueries& queries,
                      const IndexCacheView& cache,
                      const SelectionRule& rule,
                      IndexerScratch* scratch,
                      const SelectionLists& lists,
                      float* scores_out);

// Packs queries for the score kernel: rounds them to the key format (with fp8 keys each head to
// e4m3 with its own power-of-two scale, which goes into the weight).
void pack_queries(const OpContext& context,
                  const IndexerDims& dims,
                  const IndexerQueries& queries,
                  uint8_t* packed,
                  size_t packed_bytes);

// Scores of positions [0, n_keys) for packed queries, split over the threads.
void score_keys(const OpContext& context,
                const IndexerDims& dims,
                const void* const* packed,
                size_t n_queries,
                const uint8_t* base,
                const int32_t* pages,
                size_t n_keys,
                float* out,
                size_t ld_out);

}  // namespace dsa
