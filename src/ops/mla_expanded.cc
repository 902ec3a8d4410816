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

// All that the work of one head needs.
struct HeadWork {
  const OpContext* context;
  const MlaDims* dims;
  const MlaQueries* queries;
  const Weight* kv_b;
  const MlaScratch* scratch;
  size_t n_tokens;     // keys in the latent tile
  size_t first_token;  // position of its first
  bool masked;         // scratch->visible holds selections
  float* out;
};

Weight as_weight(const RowBuffer& buffer, size_t n_rows, bool bf16) {
  Weight weight;
  weight.dtype = bf16 ? DType::kBF16 : DType::kF32;
  const void* data = buffer.f32;
  if (bf16) data = buffer.bf16;
  weight.data = static_cast<const uint8_t*>(data);
  weight.rows = n_rows;
  weight.cols = buffer.ld;
  return weight;
}

void run(const MatmulJob& job) {
  job.fn(job.args);
}

// keys = [W_UK latent ; rope], values = W_UV latent for n keys of the latent tile from `first` on.
void expand_head(const HeadWork& work, size_t head, size_t first, size_t n, HeadTile* tile) {
  const MlaDims& dims = *work.dims;
  const RowBuffer& latents = work.scratch->latents;
  const kernels::VectorKernels& vector = work.context->vector();
  const Activation rows = Activation{latents.f32, latents.bf16, latents.ld}.from_row(first);
  const size_t row = head * (dims.d_nope + dims.d_v);
  run(matmul_nt(*work.context, rows, n, work.kv_b->row_slice(row, dims.d_nope), tile->keys.f32,
                tile->keys.ld));
  run(matmul_nt(*work.context, rows, n, work.kv_b->row_slice(row + dims.d_nope, dims.d_v),
                tile->values.f32, tile->values.ld));
  for (size_t j = 0; j < n; ++j) {
    std::memcpy(tile->keys.row(j) + dims.d_nope, latents.row(first + j) + dims.d_latent,
                dims.d_rope * sizeof(float));
    if (latents.bf16 == nullptr) continue;
    tile->keys.round_row(vector, j, 0, dims.d_q());
    tile->values.round_row(vector, j, 0, dims.d_v);
  }
}

// Folds n keys from `first` (in the latent tile) on into one head's running softmax.
void attend_tile(const HeadWork& work, size_t head, size_t first, size_t n, HeadTile* tile) {
  const MlaDims& dims = *work.dims;
  const MlaQueries& queries = *work.queries;
  const bool bf16 = queries.q.bf16 != nullptr;
  const size_t position = work.first_token + first;  // of the tile's first key
  // Earlier queries see none of these keys.
  const size_t begin = position > queries.first_position ? position - queries.first_position : 0;
  if (begin >= queries.n_queries) return;
  const size_t m = queries.n_queries - begin;
  expand_head(work, head, first, n, tile);
  const Activation q = queries.q.from_row(begin).columns(head * dims.d_q());
  run(matmul_nt(*work.context, q, m, as_weight(tile->keys, n, bf16), tile->scores.f32,
                tile->scores.ld));
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
    softmax.visible_stride = work.scratch->visible_words;
    softmax.visible = work.scratch->visible + begin * softmax.visible_stride + position / 64;
  }
  softmax.row_max = work.scratch->row_max + head * queries.n_queries + begin;
  softmax.row_sum = work.scratch->row_sum + head * queries.n_queries + begin;
  softmax.acc = work.out + begin * ld_out + head * dims.d_v;
  softmax.ld_acc = ld_out;
  softmax.d_v = dims.d_v;
  work.context->kernels->attention->online_softmax(softmax);
  Activation p = {tile->scores.f32, nullptr, tile->scores.ld};
  if (bf16) {
    for (size_t i = 0; i < m; ++i)
      tile->scores.round_row(work.context->vector(), i, 0, n);
    p.bf16 = tile->scores.bf16;
  }
  MatmulJob job =
      matmul_nn(*work.context, p, m, as_weight(tile->values, n, bf16), softmax.acc, ld_out);
  job.args.accumulate = true;
  run(job);
}

void set_visible(const SelectionLists& lists, size_t n_queries, MlaScratch* scratch) {
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

void load_latents(const HeadWork& work, const LatentCacheView& cache) {
  const OpContext& context = *work.context;
  const MlaQueries& queries = *work.queries;
  const RowBuffer& latents = work.scratch->latents;
  for_each_row(context, work.n_tokens, [&](size_t j) {
    const size_t token = work.first_token + j;
    if (queries.own_rows != nullptr && token >= queries.first_position) {
      std::memcpy(latents.row(j), queries.own_rows + (token - queries.first_position) * latents.ld,
                  latents.ld * sizeof(float));
    } else {
      load_latent_row(context.vector(), cache.layout, cache.row_address(token), latents.row(j));
    }
    latents.round_row(context.vector(), j, 0, latents.ld);
  });
}

// Divides by the sum of the weights; a query that saw nothing keeps 0.
void normalise(const HeadWork& work) {
  const MlaDims& dims = *work.dims;
  const size_t n_queries = work.queries->n_queries;
  for_each_row(*work.context, n_queries, [&](size_t i) {
    for (size_t h = 0; h < dims.n_heads; ++h) {
      const float sum = work.scratch->row_sum[h * n_queries + i];
      float* out = work.out + (i * dims.n_heads + h) * dims.d_v;
      if (sum == 0.0F) continue;
      for (size_t d = 0; d < dims.d_v; ++d)
        out[d] /= sum;
    }
  });
}

}  // namespace

size_t expanded_scratch_bytes(const MlaDims& dims, size_t max_queries) {
  return HeadTile().place(dims, max_queries, nullptr);
}

void expanded_attention(const OpContext& context,
                        const MlaDims& dims,
                        const MlaQueries& queries,
                        const Weight& kv_b,
                        const LatentCacheView& cache,
                        const SelectionLists& lists,
                        MlaScratch* scratch,
                        float* out) {
  const size_t n_queries = queries.n_queries;
  const size_t context_length = queries.first_position + n_queries;
  HeadWork work = {&context, &dims, &queries, &kv_b, scratch, 0, 0, lists.positions != nullptr,
                   out};
  if (work.masked) set_visible(lists, n_queries, scratch);
  std::fill_n(out, n_queries * dims.n_heads * dims.d_v, 0.0F);
  std::fill_n(scratch->row_sum, dims.n_heads * n_queries, 0.0F);
  std::fill_n(scratch->row_max, dims.n_heads * n_queries, -std::numeric_limits<float>::infinity());
  for (size_t first = first_visible(lists, n_queries); first < context_length;
       first += kLatentTile) {
    work.first_token = first;
    work.n_tokens = std::min(kLatentTile, context_length - first);
    load_latents(work, cache);
    context.pool->parallel_for(
        static_cast<int64_t>(dims.n_heads), [&work, &dims, n_queries](int64_t head, int worker) {
          HeadTile tile;
          const MlaScratch& scratch_ = *work.scratch;
          tile.place(dims, n_queries,
                     scratch_.expanded + static_cast<size_t>(worker) * scratch_.expanded_bytes);
          for (size_t key = 0; key < work.n_tokens; key += kKeyTile) {
            attend_tile(work, static_cast<size_t>(head), key,
                        std::min(kKeyTile, work.n_tokens - key), &tile);
          }
        });
  }
  normalise(work);
}

}  // namespace dsa
