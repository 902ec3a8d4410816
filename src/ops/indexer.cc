#include "ops/indexer.h"

#include <algorithm>
#include <numeric>

#include "common/math.h"
#include "formats/limits.h"
#include "ops/indexer_parts.h"
#include "ops/indexer_prune.h"

namespace dsa {

namespace {

// Rounds one head to e4m3 in place: the codes' values stay, the scale is returned.
float round_to_e4m3(const kernels::VectorKernels& kernels, float* q, size_t dim) {
  uint8_t codes[kMaxIndexDim];
  const float scale = kernels.quantize_e4m3(q, dim, codes);
  kernels.dequantize_e4m3(codes, dim, 1.0F, q);
  return scale;
}

}  // namespace

size_t select_row(const OpContext& context,
                  const float* scores,
                  size_t n,
                  const SelectionRule& rule,
                  int32_t* out,
                  void* scratch) {
  if (n <= rule.top_k) {
    std::iota(out, out + n, 0);
    return n;
  }
  const size_t middle = n - rule.keep_first - rule.keep_recent;
  const size_t budget = rule.top_k - rule.keep_first - rule.keep_recent;
  std::iota(out, out + rule.keep_first, 0);
  int32_t* best = out + rule.keep_first;
  context.kernels->indexer->top_k(scores + rule.keep_first, middle, budget, best, scratch);
  const auto offset = static_cast<int32_t>(rule.keep_first);
  std::for_each(best, best + budget, [offset](int32_t& position) { position += offset; });
  std::iota(best + budget, best + budget + rule.keep_recent,
            static_cast<int32_t>(n - rule.keep_recent));
  return rule.top_k;
}

void IndexerScratch::plan(const OpContext& context,
                          const IndexerDims& dims,
                          size_t max_queries,
                          size_t max_context,
                          size_t max_k,
                          ScratchPlan* plan) {
  const kernels::IndexerKernels& kernels = *context.kernels->indexer;
  packed_bytes = kernels.packed_query_bytes(dims.layout.format, dims.n_heads, dims.dim);
  const size_t tile_queries =
      std::clamp<size_t>(kMaxScoreBytes / (max_context * sizeof(float)), 1, max_queries);
  n_scores = tile_queries * max_context;
  top_k_bytes = round_up<size_t>(kernels.top_k_scratch_bytes(max_context, max_k), 64);
  plan_pruning(kernels, dims, max_queries, max_context, context.pool->n_threads(), plan);
  plan->add(&packed, max_queries * packed_bytes);
  plan->add(&packed_rows, max_queries);
  plan->add(&scores, n_scores);
  plan->add(&top_k, top_k_bytes * static_cast<size_t>(context.pool->n_threads()));
}

void IndexerScratch::plan_pruning(const kernels::IndexerKernels& kernels,
                                  const IndexerDims& dims,
                                  size_t max_queries,
                                  size_t max_context,
                                  int n_threads,
                                  ScratchPlan* plan) {
  estimate_bytes = 0;
  if (kernels.estimate == nullptr || dims.layout.format != CacheFormat::kFp8) return;
  estimate_bytes = kernels.estimate->packed_bytes(dims.n_heads, dims.dim);
  if (estimate_bytes == 0) return;
  worker_candidates = max_context / kCandidateShare;
  plan->add(&packed_estimates, max_queries * estimate_bytes);
  plan->add(&gains, max_queries);
  plan->add(&reach, max_context);
  plan->add(&candidates, n_scores / kCandidateShare);
  plan->add(&n_candidates, max_queries);
  plan->add(&candidate_scores, worker_candidates * static_cast<size_t>(n_threads));
}

void pack_queries(const OpContext& context,
                  const IndexerDims& dims,
                  const IndexerQueries& queries,
                  uint8_t* packed,
                  size_t packed_bytes) {
  const kernels::IndexerKernels& kernels = *context.kernels->indexer;
  context.pool->parallel_for(static_cast<int64_t>(queries.n_queries), [&](int64_t item, int) {
    const auto i = static_cast<size_t>(item);
    float* q = queries.q + i * dims.n_heads * dims.dim;
    float* weights = queries.weights + i * dims.n_heads;
    if (dims.layout.format == CacheFormat::kFp8) {
      for (size_t h = 0; h < dims.n_heads; ++h) {
        weights[h] *= round_to_e4m3(context.vector(), q + h * dims.dim, dims.dim);
      }
    }
    kernels.pack_query(dims.layout.format, q, weights, dims.n_heads, dims.dim,
                       packed + i * packed_bytes);
  });
}

void score_keys(const OpContext& context,
                const IndexerDims& dims,
                const void* const* packed,
                size_t n_queries,
                const uint8_t* base,
                const int32_t* pages,
                size_t n_keys,
                float* out,
                size_t ld_out) {
  for_each_key_range(
      context, dims, packed, n_queries, {base, pages, n_keys}, out, ld_out,
      [&](const kernels::IndexScoresArgs& args) { context.kernels->indexer->scores(args); });
}

namespace {

// After pack_queries(): from the rounded queries.
void pack_estimates(const OpContext& context,
                    const IndexerDims& dims,
                    const IndexerQueries& queries,
                    const IndexerScratch& scratch) {
  const kernels::IndexEstimateKernels& kernels = *context.kernels->indexer->estimate;
  context.pool->parallel_for(static_cast<int64_t>(queries.n_queries), [&](int64_t item, int) {
    const auto i = static_cast<size_t>(item);
    scratch.gains[i] =
        kernels.pack(queries.q + i * dims.n_heads * dims.dim, queries.weights + i * dims.n_heads,
                     dims.n_heads, dims.dim, scratch.packed_estimates + i * scratch.estimate_bytes);
  });
}

void select_scored(const OpContext& context,
                   const IndexerDims& dims,
                   const IndexCacheView& cache,
                   const SelectionRule& rule,
                   const QueryTile& tile,
                   const SelectionLists& lists,
                   IndexerScratch* scratch) {
  context.enter(Part::kIndexer);
  for (size_t i = 0; i < tile.count; ++i)
    scratch->packed_rows[i] = scratch->packed + (tile.first + i) * scratch->packed_bytes;
  score_keys(context, dims, scratch->packed_rows, tile.count, cache.base, cache.pages.data(),
             tile.n_keys, scratch->scores, tile.n_keys);
  context.enter(Part::kSelection);
  context.pool->parallel_for(static_cast<int64_t>(tile.count), [&](int64_t item, int worker) {
    const auto i = static_cast<size_t>(item);
    const size_t query = tile.first + i;
    const size_t n = select_row(
        context, scratch->scores + i * tile.n_keys, tile.queries->first_position + query + 1, rule,
        lists.positions + query * lists.stride,
        scratch->top_k + static_cast<size_t>(worker) * scratch->top_k_bytes);
    lists.counts[query] = static_cast<int32_t>(n);
  });
}

void copy_scores(const OpContext& context,
                 const QueryTile& tile,
                 const SelectionLists& lists,
                 const float* scores,
                 float* out) {
  context.pool->parallel_for(static_cast<int64_t>(tile.count), [&](int64_t item, int) {
    const auto i = static_cast<size_t>(item);
    const size_t query = tile.first + i;
    const float* row = scores + i * tile.n_keys;
    const int32_t* positions = lists.positions + query * lists.stride;
    std::transform(positions, positions + lists.counts[query], out + query * lists.stride,
                   [row](int32_t position) { return row[position]; });
  });
}

}  // namespace

void index_and_select(const OpContext& context,
                      const IndexerDims& dims,
                      const IndexerQueries& queries,
                      const IndexCacheView& cache,
                      const SelectionRule& rule,
                      IndexerScratch* scratch,
                      const SelectionLists& lists,
                      float* scores_out) {
  pack_queries(context, dims, queries, scratch->packed, scratch->packed_bytes);
  const size_t context_length = queries.first_position + queries.n_queries;
  const bool pruned = pruning_pays(*scratch, rule, queries.first_position + 1);
  if (pruned) pack_estimates(context, dims, queries, *scratch);
  const size_t longest = std::max<size_t>(scratch->n_scores / context_length, 1);
  for (size_t first = 0; first < queries.n_queries; first += longest) {
    const size_t count = std::min(longest, queries.n_queries - first);
    const QueryTile tile = {&queries, first, count, queries.first_position + first + count};
    if (pruned) {
      select_pruned(context, dims, cache, rule, tile, lists, scratch);
    } else {
      select_scored(context, dims, cache, rule, tile, lists, scratch);
    }
    if (scores_out != nullptr) copy_scores(context, tile, lists, scratch->scores, scores_out);
  }
}

}  // namespace dsa
