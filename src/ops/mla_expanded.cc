#include "ops/mla_expanded.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "common/math.h"

namespace dsa {

namespace {

constexpr size_t kKeyTile = 128;  // keys and values of one head that exist at a time

// One thread's buffers for one head.
struct HeadTile {
  RowBuffer keys;    // [kKeyTile, d_q]
  RowBuffer values;  // [kKeyTile, d_v]
  RowBuffer scores;  // [max_queries, kKeyTile]
  int32_t* limits = nullptr;

  // Carves the buffers out of `base`; returns the bytes they take.
  size_t place(const MlaDims& dims, size_t max_queries, uint8_t* base) {
    size_t used = 0;
    const auto take = [&used, base](size_t n_bytes) {
      uint8_t* piece = base == nullptr ? nullptr : base + used;
      used += round_up<size_t>(n_bytes, 64);
      return static_cast<void*>(piece);
    };
    const auto take_rows = [&take](RowBuffer* buffer, size_t n_rows, size_t ld) {
      buffer->ld = ld;
      buffer->f32 = static_cast<float*>(take(n_rows * ld * sizeof(float)));
      buffer->bf16 = static_cast<uint16_t*>(take(n_rows * ld * sizeof(uint16_t)));
    };
    take_rows(&keys, kKeyTile, dims.d_q());
    take_rows(&values, kKeyTile, dims.d_v);
    take_rows(&scores, max_queries, kKeyTile);
    limits = static_cast<int32_t*>(take(max_queries * sizeof(int32_t)));
    return used;
  }
};

// The twins of the latents: keys and values may come from weights of two formats.
Twins latent_twins(const OpContext& context, const MlaWeights& weights) {
  return read_by(context, {&weights.w_uk.stored, &weights.w_uv.stored});
}

// All that the work of one head needs.
struct HeadWork {
  const OpContext* context;
  const MlaStep* step;
  Twins twins;         // of queries, keys, values and softmax weights
  size_t n_tokens;     // keys in the latent tile
  size_t first_token;  // position of its first
  bool masked;         // scratch.visible holds selections

  const ExpandedScratch& scratch() const { return step->scratch->expanded; }
  bool rounds() const { return twins.contains(ActivationFormat::kBF16); }
};

Weight as_weight(const RowBuffer& buffer, size_t n_rows, bool bf16) {
  if (bf16) return Weight::dense(DType::kBF16, buffer.bf16, n_rows, buffer.ld);
  return Weight::dense(DType::kF32, buffer.f32, n_rows, buffer.ld);
}

// c[n, rows of the head] = latents W^T
void expand(const OpContext& context,
            const Activation& latents,
            size_t n,
            const HeadWeights& weights,
            size_t head,
            const RowBuffer& out) {
  const auto product = weights.transposed ? matmul_nn : matmul_nt;
  run_here(context, product(context, latents, n, weights.head(head), out.f32, out.ld));
}

// keys = [W_UK latent ; rope], values = W_UV latent for n keys of the latent tile from `first` on.
void expand_head(const HeadWork& work, size_t head, size_t first, size_t n, HeadTile* tile) {
  const MlaDims& dims = work.step->dims;
  const MlaWeights& weights = work.step->weights;
  const RowBuffer& latents = work.scratch().latents;
  const kernels::VectorKernels& vector = work.context->vector();
  const Activation rows = latents.activation(latent_twins(*work.context, weights)).from_row(first);
  expand(*work.context, rows, n, weights.w_uk, head, tile->keys);
  expand(*work.context, rows, n, weights.w_uv, head, tile->values);
  for (size_t j = 0; j < n; ++j) {
    std::memcpy(tile->keys.row(j) + dims.d_nope, latents.row(first + j) + dims.d_latent,
                dims.d_rope * sizeof(float));
    tile->keys.prepare(vector, work.twins, j, 0, dims.d_q());
    tile->values.prepare(vector, work.twins, j, 0, dims.d_v);
  }
}

// Folds n keys from `first` (in the latent tile) on into one head's running softmax.
void attend_tile(const HeadWork& work, size_t head, size_t first, size_t n, HeadTile* tile) {
  const MlaDims& dims = work.step->dims;
  const MlaQueries& queries = work.step->queries;
  const ExpandedScratch& scratch = work.scratch();
  const size_t position = work.first_token + first;  // of the tile's first key
  // Earlier queries see none of these keys.
  const size_t begin = position > queries.first_position ? position - queries.first_position : 0;
  if (begin >= queries.n_queries) return;
  const size_t m = queries.n_queries - begin;
  expand_head(work, head, first, n, tile);
  const Activation q = queries.q.from_row(begin).columns(head * dims.d_q());
  run_here(*work.context, matmul_nt(*work.context, q, m, as_weight(tile->keys, n, work.rounds()),
                                    tile->scores.f32, tile->scores.ld));
  for (size_t i = 0; i < m; ++i) {
    tile->limits[i] = static_cast<int32_t>(queries.first_position + begin + i + 1 - position);
  }
  const size_t ld_out = dims.n_heads * dims.d_v;
  kernels::OnlineSoftmaxArgs softmax;
  softmax.s = tile->scores.f32;
  softmax.ld = tile->scores.ld;
  softmax.m = m;
  softmax.n = n;
  softmax.scale = dims.scale;
  softmax.limit = tile->limits;
  if (work.masked) {
    softmax.visible_stride = scratch.visible_words;
    softmax.visible = scratch.visible + begin * softmax.visible_stride + position / 64;
  }
  softmax.row_max = scratch.row_max + head * queries.n_queries + begin;
  softmax.row_sum = scratch.row_sum + head * queries.n_queries + begin;
  softmax.acc = work.step->out + begin * ld_out + head * dims.d_v;
  softmax.ld_acc = ld_out;
  softmax.d_v = dims.d_v;
  work.context->kernels->attention->online_softmax(softmax);
  for (size_t i = 0; i < m; ++i)
    tile->scores.prepare(work.context->vector(), work.twins, i, 0, n);
  MatmulJob job = matmul_nn(*work.context, tile->scores.activation(work.twins), m,
                            as_weight(tile->values, n, work.rounds()), softmax.acc, ld_out);
  job.args.accumulate = true;
  run_here(*work.context, job);
}

void set_visible(const SelectionLists& lists, size_t n_queries, ExpandedScratch* scratch) {
  std::fill_n(scratch->visible, n_queries * scratch->visible_words, uint64_t{0});
  for (size_t i = 0; i < n_queries; ++i) {
    uint64_t* bits = scratch->visible + i * scratch->visible_words;
    const int32_t* positions = lists.positions + i * lists.stride;
    std::for_each(positions, positions + lists.counts[i], [bits](int32_t position) {
      bits[position / 64] |= uint64_t{1} << (position % 64);
    });
  }
}

// First position that any query attends to, at the start of a mask word.
size_t first_visible(const SelectionLists& lists, size_t n_queries) {
  if (lists.positions == nullptr) return 0;
  int32_t first = std::numeric_limits<int32_t>::max();
  for (size_t i = 0; i < n_queries; ++i) {
    first = std::min(first, lists.positions[i * lists.stride]);
  }
  return static_cast<size_t>(first) / 64 * 64;
}

void load_latents(const HeadWork& work) {
  const OpContext& context = *work.context;
  const MlaQueries& queries = work.step->queries;
  const LatentCacheView& cache = work.step->cache;
  const RowBuffer& latents = work.scratch().latents;
  const Twins twins = latent_twins(context, work.step->weights);
  for_each_row(context, work.n_tokens, [&](size_t j) {
    const size_t token = work.first_token + j;
    if (queries.own_rows != nullptr && token >= queries.first_position) {
      std::memcpy(latents.row(j), queries.own_rows + (token - queries.first_position) * latents.ld,
                  latents.ld * sizeof(float));
    } else {
      load_latent_row(context.vector(), cache.layout, cache.row_address(token), latents.row(j));
    }
    latents.prepare(context.vector(), twins, j, 0, latents.ld);
  });
}

// Divides by the sum of the weights; a query that saw nothing keeps 0.
void normalise(const HeadWork& work) {
  const MlaDims& dims = work.step->dims;
  const size_t n_queries = work.step->queries.n_queries;
  for_each_row(*work.context, n_queries, [&](size_t i) {
    for (size_t h = 0; h < dims.n_heads; ++h) {
      const float sum = work.scratch().row_sum[h * n_queries + i];
      float* out = work.step->out + (i * dims.n_heads + h) * dims.d_v;
      if (sum == 0.0F) continue;
      for (size_t d = 0; d < dims.d_v; ++d)
        out[d] /= sum;
    }
  });
}

}  // namespace

void ExpandedScratch::plan(const OpContext& context,
                           const MlaDims& dims,
                           Twins twins,
                           const MlaLimits& limits,
                           ScratchPlan* plan) {
  const auto n_threads = static_cast<size_t>(context.pool->n_threads());
  plan_buffer(plan, &latents, kLatentTile, dims.d_row(), twins);
  head_bytes = HeadTile().place(dims, limits.max_queries, nullptr);
  plan->add(&heads, n_threads * head_bytes);
  plan->add(&row_max, dims.n_heads * limits.max_queries);
  plan->add(&row_sum, dims.n_heads * limits.max_queries);
  // Beyond this context the selected rows cost less than all rows do in expanded form.
  const size_t crossover =
      limits.max_selected * (dims.d_row() + dims.d_latent) / (dims.d_q() + dims.d_v) +
      limits.max_queries;
  visible_words = ceil_div(std::min(crossover, limits.max_context), size_t{64});
  plan->add(&visible, limits.max_queries * visible_words);
}

void expanded_attention(const OpContext& context, const MlaStep& step) {
  const MlaDims& dims = step.dims;
  const SelectionLists& lists = step.lists;
  ExpandedScratch* scratch = &step.scratch->expanded;
  const size_t n_queries = step.queries.n_queries;
  const size_t context_length = step.queries.first_position + n_queries;
  HeadWork work = {&context, &step, query_twins(context, step.weights),
                   0,        0,     lists.positions != nullptr};
  if (work.masked) set_visible(lists, n_queries, scratch);
  std::fill_n(step.out, n_queries * dims.n_heads * dims.d_v, 0.0F);
  std::fill_n(scratch->row_sum, dims.n_heads * n_queries, 0.0F);
  std::fill_n(scratch->row_max, dims.n_heads * n_queries, -std::numeric_limits<float>::infinity());
  for (size_t first = first_visible(lists, n_queries); first < context_length;
       first += kLatentTile) {
    work.first_token = first;
    work.n_tokens = std::min(kLatentTile, context_length - first);
    load_latents(work);
    context.pool->parallel_for(static_cast<int64_t>(dims.n_heads), [&work, &dims, n_queries](
                                                                       int64_t head, int worker) {
      HeadTile tile;
      const ExpandedScratch& memory = work.scratch();
      tile.place(dims, n_queries, memory.heads + static_cast<size_t>(worker) * memory.head_bytes);
      for (size_t key = 0; key < work.n_tokens; key += kKeyTile) {
        attend_tile(work, static_cast<size_t>(head), key, std::min(kKeyTile, work.n_tokens - key),
                    &tile);
      }
    });
  }
  normalise(work);
}

}  // namespace dsa
