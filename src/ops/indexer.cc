#include "ops/indexer.h"

#include <algorithm>
#include <numeric>

#include "common/math.h"
#include "formats/limits.h"

namespace dsa {

namespace {

constexpr size_t kKeysPerItem = 2048;  // keys scored by one work item

// Rounds one head to e4m3 in place: the codes' values stay, the scale is returned.
float round_to_e4m3(const kernels::VectorKernels& kernels, float* q, size_t dim) {
  uint8_t codes[kMaxIndexDim];
  const float scale = kernels.quantize_e4m3(q, dim, codes);
  kernels.dequantize_e4m3(codes, dim, 1.0F, q);
  return scale;
}

// Positions [0, keep_first) and the last keep_recent of n, and the best of those between.
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

}  // namespace

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
  plan->add(&packed, max_queries * packed_bytes);
  plan->add(&packed_rows, max_queries);
  plan->add(&scores, n_scores);
  plan->add(&top_k, top_k_bytes * static_cast<size_t>(context.pool->n_threads()));
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
  const auto n_items = static_cast<int64_t>(ceil_div(n_keys, kKeysPerItem));
  context.pool->parallel_for(n_items, [&](int64_t item, int) {
    kernels::IndexScoresArgs args;
    args.queries = packed;
    args.n_queries = n_queries;
    args.n_heads = dims.n_heads;
    args.layout = dims.layout;
    args.base = base;
    args.page_stride = dims.layout.page_bytes();
    args.pages = pages;
    args.first = static_cast<size_t>(item) * kKeysPerItem;
    args.last = std::min(args.first + kKeysPerItem, n_keys);
    args.out = out + args.first;
    args.ld_out = ld_out;
    context.kernels->indexer->scores(args);
  });
}

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
  const size_t tile = std::max<size_t>(scratch->n_scores / context_length, 1);
  for (size_t first = 0; first < queries.n_queries; first += tile) {
    context.enter(Part::kIndexer);
    const size_t count = std::min(tile, queries.n_queries - first);
    const size_t n_keys = queries.first_position + first + count;
    for (size_t i = 0; i < count; ++i) {
      scratch->packed_rows[i] = scratch->packed + (first + i) * scratch->packed_bytes;
    }
    score_keys(context, dims, scratch->packed_rows, count, cache.base, cache.pages.data(), n_keys,
               scratch->scores, n_keys);
    context.enter(Part::kSelection);
    context.pool->parallel_for(static_cast<int64_t>(count), [&](int64_t item, int worker) {
      const auto i = static_cast<size_t>(item);
      const float* scores = scratch->scores + i * n_keys;
      int32_t* out = lists.positions + (first + i) * lists.stride;
      const size_t n =
          select_row(context, scores, queries.first_position + first + i + 1, rule, out,
                     scratch->top_k + static_cast<size_t>(worker) * scratch->top_k_bytes);
      lists.counts[first + i] = static_cast<int32_t>(n);
      if (scores_out == nullptr) return;
      float* row = scores_out + (first + i) * lists.stride;
      std::transform(out, out + n, row, [scores](int32_t position) { return scores[position]; });
    });
  }
}

}  // namespace dsa
