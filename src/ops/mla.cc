#include "ops/mla.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "common/math.h"
#include "ops/attend_neighbours.h"
#include "ops/attend_rows.h"
#include "ops/mla_expanded.h"

namespace dsa {

namespace {

// Queries whose absorbed form exists at a time: as many as fit, within bounds.
constexpr size_t kMinQueryTile = 32;
constexpr size_t kMaxQueryTile = 256;
constexpr size_t kQueryTileBytes = 16 << 20;

size_t query_tile(const MlaDims& dims) {
  const size_t bytes = dims.n_heads * (dims.d_row() + dims.d_latent) * sizeof(float);
  return std::clamp(kQueryTileBytes / bytes, kMinQueryTile, kMaxQueryTile);
}

// Which form costs fewer multiplications for this step.
bool expanded_is_cheaper(const MlaDims& dims,
                         const MlaQueries& queries,
                         const SelectionLists& lists) {
  if (queries.n_queries == 1) return false;
  const size_t context_length = queries.first_position + queries.n_queries;
  size_t all_pairs = 0;
  size_t selected_pairs = 0;
  for (size_t i = 0; i < queries.n_queries; ++i) {
    const size_t visible = queries.first_position + i + 1;
    all_pairs += visible;
    selected_pairs += lists.positions == nullptr ? visible : static_cast<size_t>(lists.counts[i]);
  }
  const size_t per_projection = (dims.d_nope + dims.d_v) * dims.d_latent;
  const size_t absorbed =
      selected_pairs * (dims.d_row() + dims.d_latent) + queries.n_queries * per_projection;
  const size_t expanded = all_pairs * (dims.d_q() + dims.d_v) + context_length * per_projection;
  return expanded < absorbed;
}

// C[m, cols] = A W (by_transpose: A W^T) with W as the formulas have it, whichever way it is
// stored.
MatmulJob times_head(const OpContext& context,
                     const Activation& a,
                     size_t m,
                     const HeadWeights& weights,
                     size_t head,
                     bool by_transpose,
                     float* c,
                     size_t ldc) {
  const auto product = by_transpose != weights.transposed ? matmul_nt : matmul_nn;
  return product(context, a, m, weights.head(head), c, ldc);
}

// q~ = [W_UK^T q_nope ; q_rope] for `count` queries.
void absorb_queries(const OpContext& context,
                    const MlaStep& step,
                    const Activation& q,
                    size_t count) {
  const MlaDims& dims = step.dims;
  const RowBuffer& out = step.scratch->absorbed.q;
  std::vector<MatmulJob> jobs;
  jobs.reserve(dims.n_heads);
  for (size_t h = 0; h < dims.n_heads; ++h) {
    jobs.push_back(times_head(context, q.columns(h * dims.d_q()), count, step.weights.w_uk, h,
                              false, out.f32 + h * dims.d_row(), out.ld));
  }
  run_matmuls(context, jobs);
  for_each_row(context, count, [&](size_t i) {
    for (size_t h = 0; h < dims.n_heads; ++h) {
      std::memcpy(out.row(i) + h * dims.d_row() + dims.d_latent,
                  q.f32 + i * q.ld + h * dims.d_q() + dims.d_nope, dims.d_rope * sizeof(float));
    }
  });
}

// out = W_UV o~ for `count` queries.
void expand_outputs(const OpContext& context, const MlaStep& step, size_t count, float* out) {
  const MlaDims& dims = step.dims;
  const RowBuffer& absorbed = step.scratch->absorbed.out;
  const Twins twins = read_by(context, {&step.weights.w_uv.stored});
  for_each_row(context, count,
               [&](size_t i) { absorbed.prepare(context.vector(), twins, i, 0, absorbed.ld); });
  const Activation a = absorbed.activation(twins);
  std::vector<MatmulJob> jobs;
  jobs.reserve(dims.n_heads);
  for (size_t h = 0; h < dims.n_heads; ++h) {
    jobs.push_back(times_head(context, a.columns(h * dims.d_latent), count, step.weights.w_uv, h,
                              true, out + h * dims.d_v, dims.n_heads * dims.d_v));
  }
  run_matmuls(context, jobs);
}

// Splits the lists of `count` queries from `first` on: rows of the cache, and rows of the step
// itself. Queries share one list of cached rows when nothing is left out.
void resolve_rows(const OpContext& context, const MlaStep& step, size_t first, size_t count) {
  const MlaQueries& queries = step.queries;
  const LatentCacheView& cache = step.cache;
  const SelectionLists& lists = step.lists;
  AbsorbedScratch* scratch = &step.scratch->absorbed;
  const bool split = queries.own_rows != nullptr;
  const size_t first_own = queries.first_position;
  if (lists.positions == nullptr) {
    const size_t n = split ? first_own : first_own + first + count;
    for (size_t t = 0; t < n; ++t)
      scratch->rows[t] = cache.row(t);
    for (size_t i = 0; i < count; ++i) {
      const size_t visible = first_own + first + i + 1;
      scratch->counts[i] = static_cast<int32_t>(split ? first_own : visible);
      scratch->own_counts[i] = static_cast<int32_t>(split ? visible - first_own : 0);
      int32_t* own = scratch->own_list + i * scratch->own_stride;
      std::iota(own, own + scratch->own_counts[i], 0);
    }
    return;
  }
  for_each_row(context, count, [&](size_t i) {
    const int32_t* begin = lists.positions + (first + i) * lists.stride;
    const int32_t* end = begin + lists.counts[first + i];
    const int32_t* own =
        split ? std::lower_bound(begin, end, static_cast<int32_t>(first_own)) : end;
    scratch->counts[i] = static_cast<int32_t>(own - begin);
    scratch->own_counts[i] = static_cast<int32_t>(end - own);
    std::transform(begin, own, scratch->rows + i * lists.stride,
                   [&cache](int32_t position) { return cache.row(static_cast<size_t>(position)); });
    std::transform(
        own, end, scratch->own_list + i * scratch->own_stride,
        [first_own](int32_t position) { return position - static_cast<int32_t>(first_own); });
  });
}

// Attention of `count` queries, whose rows are resolved, into scratch->out.
void attend_resolved(const OpContext& context, const MlaStep& step, size_t count) {
  const MlaDims& dims = step.dims;
  const MlaQueries& queries = step.queries;
  const LatentCacheView& cache = step.cache;
  AbsorbedScratch* scratch = &step.scratch->absorbed;
  const size_t part_size = dims.n_heads * dims.d_latent;
  const bool own = queries.own_rows != nullptr;
  const bool cached = !own || queries.first_position > 0;
  const bool merge = own && cached;
  const size_t n_parts = merge ? 2 : 1;
  RowAttention attention;
  attention.q = scratch->q.f32;
  attention.n_queries = count;
  attention.n_heads = dims.n_heads;
  attention.scale = dims.scale;
  attention.out = merge ? scratch->part_out : scratch->out.f32;
  attention.out_stride = n_parts * part_size;
  attention.lse = merge ? scratch->part_lse : scratch->lse;
  attention.lse_stride = n_parts * dims.n_heads;
  // Parts of one long list lie behind what this tile merges.
  const size_t held = merge ? 2 * count : 0;
  const auto run = [&] {
    attend_rows(context, attention, scratch->part_out + held * part_size,
                scratch->part_lse + held * dims.n_heads, scratch->attend, scratch->attend_bytes);
  };
  if (cached) {
    attention.layout = cache.layout;
    attention.base = cache.base;
    attention.rows = scratch->rows;
    attention.rows_stride = step.lists.positions == nullptr ? 0 : step.lists.stride;
    attention.counts = scratch->counts;
    run();
  }
  if (!own) return;
  const void* own_rows = queries.own_rows;
  attention.layout = {CacheFormat::kF32, dims.d_latent, dims.d_rope};
  attention.base = static_cast<const uint8_t*>(own_rows);
  attention.rows = scratch->own_list;
  attention.rows_stride = scratch->own_stride;
  attention.counts = scratch->own_counts;
  if (merge) {
    attention.out += part_size;
    attention.lse += dims.n_heads;
  }
  run();
  if (!merge) return;
  for_each_row(context, count, [&](size_t i) {
    context.kernels->attention->merge(
        scratch->part_out + i * 2 * part_size, scratch->part_lse + i * 2 * dims.n_heads, 2,
        dims.n_heads, dims.d_latent, scratch->out.row(i), scratch->lse + i * dims.n_heads);
  });
}

// The same where every row is read from the cache.
void attend_selected(const OpContext& context, const MlaStep& step, size_t first, size_t count) {
  AbsorbedScratch& scratch = step.scratch->absorbed;
  const SelectionLists& lists = step.lists;
  const SelectionLists from_first = {lists.positions + first * lists.stride, lists.counts + first,
                                     lists.stride};
  const NeighbourAttention attention = {step.cache,        from_first,      count,
                                        step.dims.n_heads, step.dims.scale, scratch.q.f32,
                                        scratch.out.f32,   scratch.lse};
  attend_neighbours(context, attention, scratch.unions, scratch.attend, scratch.attend_bytes);
}

void absorbed_attention(const OpContext& context, const MlaStep& step) {
  const MlaDims& dims = step.dims;
  const MlaQueries& queries = step.queries;
  const size_t tile = query_tile(dims);
  const bool from_cache = queries.n_queries > 1 && queries.own_rows == nullptr;
  for (size_t first = 0; first < queries.n_queries; first += tile) {
    const size_t count = std::min(tile, queries.n_queries - first);
    context.enter(Part::kProjections);
    absorb_queries(context, step, queries.q.from_row(first), count);
    context.enter(Part::kAttention);
    if (from_cache && step.lists.positions != nullptr) {
      attend_selected(context, step, first, count);
    } else {
      resolve_rows(context, step, first, count);
      attend_resolved(context, step, count);
    }
    context.enter(Part::kOutput);
    expand_outputs(context, step, count, step.out + first * dims.n_heads * dims.d_v);
  }
}

}  // namespace

MlaWeights split_kv_up(const Weight& kv_up, size_t d_nope, size_t d_v) {
  const size_t per_head = d_nope + d_v;
  return {{kv_up, 0, d_nope, per_head, false}, {kv_up, d_nope, d_v, per_head, false}};
}

Twins query_twins(const OpContext& context, const MlaWeights& weights) {
  return read_by(context, {&weights.w_uk.stored});
}

void AbsorbedScratch::plan(const OpContext& context,
                           const MlaDims& dims,
                           const LatentLayout& layout,
                           Twins twins,
                           const MlaLimits& limits,
                           ScratchPlan* plan) {
  const size_t tile = std::min(query_tile(dims), limits.max_queries);
  const auto n_threads = static_cast<size_t>(context.pool->n_threads());
  plan_buffer(plan, &q, tile, dims.n_heads * dims.d_row(), {});
  plan_buffer(plan, &out, tile, dims.n_heads * dims.d_latent, twins);
  const size_t n_parts = kMaxAttentionParts + 2 * tile;
  plan->add(&part_out, n_parts * dims.n_heads * dims.d_latent);
  plan->add(&part_lse, n_parts * dims.n_heads);
  plan->add(&lse, tile * dims.n_heads);
  plan->add(&rows, std::max(tile * limits.max_selected, limits.max_context));
  plan->add(&counts, tile);
  own_stride = limits.max_queries;
  plan->add(&own_list, tile * own_stride);
  plan->add(&own_counts, tile);
  const LatentLayout own_layout = {CacheFormat::kF32, dims.d_latent, dims.d_rope};
  attend_bytes = std::max(attend_scratch_bytes(context, layout, dims.n_heads),
                          attend_scratch_bytes(context, own_layout, dims.n_heads));
  plan->add(&attend, n_threads * attend_bytes);
  unions.resize(n_threads);
  for (RowUnion& rows_of_tile : unions)
    rows_of_tile.plan(limits.max_selected, limits.max_context, plan);
}

void MlaScratch::plan(const OpContext& context,
                      const MlaDims& dims,
                      const LatentLayout& layout,
                      Twins twins,
                      const MlaLimits& limits,
                      ScratchPlan* plan) {
  absorbed.plan(context, dims, layout, twins, limits, plan);
  expanded.plan(context, dims, twins, limits, plan);
}

void mla_attention(const OpContext& context, const MlaStep& all) {
  MlaStep step = all;
  MlaQueries& queries = step.queries;
  const bool rounds = query_twins(context, step.weights).contains(ActivationFormat::kBF16);
  if (rounds || step.cache.layout.format == CacheFormat::kF32) {
    queries.own_rows = nullptr;  // the cache's rows give the same products
  }
  const size_t context_length = queries.first_position + queries.n_queries;
  const bool mask_fits = step.lists.positions == nullptr ||
                         context_length <= step.scratch->expanded.visible_words * 64;
  if (mask_fits && expanded_is_cheaper(step.dims, queries, step.lists)) {
    expanded_attention(context, step);
  } else {
    absorbed_attention(context, step);
  }
}

}  // namespace dsa
