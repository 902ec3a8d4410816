#include "backprop/train_indexer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backprop/dense_attention.h"
#include "backprop/norms.h"
#include "backprop/rotation.h"
#include "backprop/sparse_attention.h"
#include "common/math.h"
#include "ops/indexer_parts.h"

namespace dsa::backprop {

namespace {

float gate_factor(const TrainDims& dims) {
  return 1.0F / std::sqrt(static_cast<float>(dims.index_heads * dims.index_dim));
}

size_t query_width(const TrainDims& dims) {
  return dims.index_heads * dims.index_dim;
}

void turn_heads(const LayerWork& work, size_t token, bool backward) {
  const TrainDims& dims = work.dims;
  float* q = (backward ? work.shared.d_index_q : work.shared.index_q) + token * query_width(dims);
  for (size_t h = 0; h < dims.index_heads; ++h) {
    float* head = q + h * dims.index_dim;
    if (backward && work.config.indexer.hadamard)
      work.context.vector().hadamard(head, dims.index_dim);
    rotate(work, work.config.indexer.rope_layout, token, backward, head);
    if (!backward && work.config.indexer.hadamard)
      work.context.vector().hadamard(head, dims.index_dim);
  }
}

// Memory of a worker while the KL of a tile is computed.
struct IndexTile {
  float* qk;      // [tile * index_heads, kIndexKeys]
  float* logits;  // [tile, kIndexKeys] of one main head
  float* target;  // [tile, kIndexKeys]
  float* lse;     // [tile]
  float* scores;  // [tile, max_tokens]
  float* gemm_scratch;

  IndexTile(const LayerWork& work, int worker) {
    const size_t rows = index_tile(work.dims);
    WorkerMemory memory(work.shared, static_cast<size_t>(worker));
    qk = memory.take<float>(rows * work.dims.index_heads * kIndexKeys);
    logits = memory.take<float>(rows * kIndexKeys);
    target = memory.take<float>(rows * kIndexKeys);
    lse = memory.take<float>(rows);
    scores = work.shared.index_rows + static_cast<size_t>(worker) * rows * work.dims.max_tokens;
    gemm_scratch = work.context.worker_scratch(worker);
  }
};

// Scores of a tile's queries and all keys they may see.
void score_all(const LayerWork& work, const QueryTile& tile, const IndexTile& memory) {
  const size_t end = tile.begin + tile.n;
  for (size_t key = tile.document; key < end; key += kIndexKeys) {
    index_scores_tile(work, tile, key, std::min(kIndexKeys, end - key), memory.qk,
                      memory.gemm_scratch, memory.scores + (key - tile.document),
                      work.dims.max_tokens);
  }
}

void run_gemm(const LayerWork& work, Product product, float* scratch) {
  product.scratch = scratch;
  work.context.train().gemm(product);
}

// The products <q, k> of a tile's queries and keys, [tile.n * index_heads, n_keys].
Product index_products(
    const LayerWork& work, const QueryTile& tile, size_t first_key, size_t n_keys, float* qk) {
  const TrainDims& dims = work.dims;
  Product product;
  product.a = work.shared.index_q + tile.begin * query_width(dims);
  product.lda = dims.index_dim;
  product.b = work.shared.index_key + first_key * dims.index_dim;
  product.ldb = dims.index_dim;
  product.b_transposed = true;
  product.m = tile.n * dims.index_heads;
  product.n = n_keys;
  product.k = dims.index_dim;
  product.c = qk;
  product.ldc = n_keys;
  return product;
}

// From d(qk) of a tile to the gradients of its queries and keys.
void spread_gradients(const LayerWork& work,
                      const QueryTile& tile,
                      size_t first_key,
                      size_t n_keys,
                      const IndexTile& memory,
                      float* d_keys) {
  const TrainDims& dims = work.dims;
  const size_t rows = tile.n * dims.index_heads;
  Product d_q;
  d_q.a = memory.qk;
  d_q.lda = n_keys;
  d_q.b = work.shared.index_key + first_key * dims.index_dim;
  d_q.ldb = dims.index_dim;
  d_q.m = rows;
  d_q.n = dims.index_dim;
  d_q.k = n_keys;
  d_q.c = work.shared.d_index_q + tile.begin * query_width(dims);
  d_q.ldc = dims.index_dim;
  d_q.accumulate = true;
  run_gemm(work, d_q, memory.gemm_scratch);
  Product d_k = d_q;
  d_k.a_transposed = true;
  d_k.b = work.shared.index_q + tile.begin * query_width(dims);
  d_k.m = n_keys;
  d_k.k = rows;
  d_k.c = d_keys + first_key * dims.index_dim;
  run_gemm(work, d_k, memory.gemm_scratch);
}

double differentiate_tile(const LayerWork& work,
                          const LayerState& layer,
                          const QueryTile& tile,
                          float factor,
                          const IndexTile& memory,
                          float* d_keys) {
  const TrainDims& dims = work.dims;
  const kernels::TrainKernels& kernels = work.context.train();
  score_all(work, tile, memory);
  for (size_t i = 0; i < tile.n; ++i) {
    const size_t visible = tile.begin + i + 1 - tile.document;
    memory.lse[i] = work.context.vector().log_sum_exp(memory.scores + i * dims.max_tokens, visible);
  }
  double loss = 0;
  const size_t end = tile.begin + tile.n;
  for (size_t key = tile.document; key < end; key += kIndexKeys) {
    const size_t n = std::min(kIndexKeys, end - key);
    head_mean(work, layer, tile, key, n, memory.logits, memory.gemm_scratch, memory.target,
              kIndexKeys);
    run_gemm(work, index_products(work, tile, key, n, memory.qk), memory.gemm_scratch);
    for (size_t i = 0; i < tile.n; ++i) {
      const size_t query = tile.begin + i;
      float* scores = memory.scores + i * dims.max_tokens + (key - tile.document);
      const size_t visible = query < key ? 0 : std::min(n, query + 1 - key);
      loss +=
          kernels.kl_row(memory.target + i * kIndexKeys, scores, visible, memory.lse[i], factor);
      std::fill(scores + visible, scores + n, 0.0F);
      kernels.index_scores_backward(memory.qk + i * dims.index_heads * n, n, dims.index_heads, n,
                                    work.shared.index_gate + query * dims.index_heads, scores,
                                    work.shared.d_index_gate + query * dims.index_heads);
    }
    spread_gradients(work, tile, key, n, memory, d_keys);
  }
  return loss;
}

// The keys a query selected, side by side, and their products with it.
struct SelectedKeys {
  float* keys;        // [stride, dim]
  float* transposed;  // [dim, stride]
  float* d_keys;      // [stride, dim]
  float* qk;          // [index_heads, stride]; multiply_backward() takes the gradient there
  float* scores;      // [stride]
  float* gemm_scratch;
  size_t query;
  size_t n;
  size_t stride;

  SelectedKeys(const LayerWork& work,
               const SelectedRows& selected,
               size_t which,
               int worker,
               size_t memory_offset)
      : query(which), n(selected.count(which)), stride(selected.stride) {
    const size_t dim = work.dims.index_dim;
    WorkerMemory memory(work.shared, static_cast<size_t>(worker), memory_offset);
    keys = memory.take<float>(stride * dim);
    transposed = memory.take<float>(stride * dim);
    d_keys = memory.take<float>(stride * dim);
    qk = memory.take<float>(stride * work.dims.index_heads);
    scores = memory.take<float>(stride);
    gemm_scratch = work.context.worker_scratch(worker);
    const int32_t* list = selected.of(query);
    for (size_t j = 0; j < n; ++j) {
      std::memcpy(keys + j * dim, work.shared.index_key + static_cast<size_t>(list[j]) * dim,
                  dim * sizeof(float));
    }
    work.context.train().transpose(keys, dim, n, dim, transposed, stride);
  }

  // qk[h, j] = <q_h, key_j>
  void multiply(const LayerWork& work) const {
    Product product;
    product.a = work.shared.index_q + query * query_width(work.dims);
    product.lda = work.dims.index_dim;
    product.b = transposed;
    product.ldb = stride;
    product.m = work.dims.index_heads;
    product.n = n;
    product.k = work.dims.index_dim;
    product.c = qk;
    product.ldc = stride;
    run_gemm(work, product, gemm_scratch);
  }

  // d_index_q of the query = qk keys, d_keys = qk^T q.
  void multiply_backward(const LayerWork& work) const {
    Product d_q;
    d_q.a = qk;
    d_q.lda = stride;
    d_q.b = keys;
    d_q.ldb = work.dims.index_dim;
    d_q.m = work.dims.index_heads;
    d_q.n = work.dims.index_dim;
    d_q.k = n;
    d_q.c = work.shared.d_index_q + query * query_width(work.dims);
    d_q.ldc = work.dims.index_dim;
    run_gemm(work, d_q, gemm_scratch);
    Product d_k = d_q;
    d_k.a_transposed = true;
    d_k.b = work.shared.index_q + query * query_width(work.dims);
    d_k.m = n;
    d_k.k = work.dims.index_heads;
    d_k.c = d_keys;
    run_gemm(work, d_k, gemm_scratch);
  }
};

}  // namespace

size_t index_tile(const TrainDims& dims) {
  constexpr size_t kProductRows = 768;
  return std::clamp<size_t>(kProductRows / dims.index_heads, 4, kIndexTile);
}

size_t index_bytes(const TrainDims& dims) {
  constexpr size_t kPieces = 4;
  const size_t rows = index_tile(dims);
  return (rows * ((dims.index_heads + 2) * kIndexKeys + 1) + kPieces * 16) * sizeof(float);
}

size_t selected_index_bytes(const TrainDims& dims, size_t max_selected) {
  constexpr size_t kPieces = 5;
  return (max_selected * (3 * dims.index_dim + dims.index_heads + 1) + kPieces * 16) *
         sizeof(float);
}

void project_index(const LayerWork& work,
                   const IndexerParameters& parameters,
                   const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const size_t n = work.n_tokens();
  const Rows normed = {layer.normed, dims.hidden};
  run_products(
      work.context,
      {forward_product({layer.c_q, dims.q_rank}, n, parameters.wq_b,
                       {shared.index_q, query_width(dims)}),
       forward_product(normed, n, parameters.wk, {shared.index_low, dims.index_dim}),
       forward_product(normed, n, parameters.weights_proj, {shared.index_gate, dims.index_heads})});
  const float factor = gate_factor(dims);
  for_rows(work.context, n, [&](size_t t) {
    float* key = shared.index_key + t * dims.index_dim;
    work.context.vector().layer_norm(shared.index_low + t * dims.index_dim,
                                     vector_of(parameters.k_norm_weight),
                                     vector_of(parameters.k_norm_bias), dims.index_dim,
                                     static_cast<float>(work.config.indexer.norm_eps), key);
    rotate(work, work.config.indexer.rope_layout, t, false, key);
    if (work.config.indexer.hadamard) work.context.vector().hadamard(key, dims.index_dim);
    turn_heads(work, t, false);
    for (size_t h = 0; h < dims.index_heads; ++h)
      shared.index_gate[t * dims.index_heads + h] *= factor;
  });
}

void index_scores_tile(const LayerWork& work,
                       const QueryTile& tile,
                       size_t first_key,
                       size_t n_keys,
                       float* qk,
                       float* gemm_scratch,
                       float* scores,
                       size_t ld) {
  const TrainDims& dims = work.dims;
  run_gemm(work, index_products(work, tile, first_key, n_keys, qk), gemm_scratch);
  for (size_t i = 0; i < tile.n; ++i) {
    work.context.train().index_scores(
        qk + i * dims.index_heads * n_keys, n_keys, dims.index_heads, n_keys,
        work.shared.index_gate + (tile.begin + i) * dims.index_heads, scores + i * ld);
  }
}

void select_rows(const LayerWork& work, const SelectionRule& rule, const SelectedRows& selected) {
  const std::vector<QueryTile> tiles = work.batch.tiles(index_tile(work.dims));
  const OpContext context = {work.context.kernels, work.context.pool, nullptr};
  work.context.pool->parallel_for(static_cast<int64_t>(tiles.size()), [&](int64_t item,
                                                                          int worker) {
    const QueryTile& tile = tiles[tiles.size() - 1 - static_cast<size_t>(item)];
    const IndexTile memory(work, worker);
    const bool chooses = tile.begin + tile.n - tile.document > rule.top_k;
    if (chooses) score_all(work, tile, memory);
    uint8_t* scratch = work.shared.top_k + static_cast<size_t>(worker) * work.shared.top_k_bytes;
    for (size_t i = 0; i < tile.n; ++i) {
      const size_t query = tile.begin + i;
      int32_t* list = selected.rows + query * selected.stride;
      const size_t visible = query + 1 - tile.document;
      const size_t n = select_row(context, memory.scores + i * work.dims.max_tokens, visible, rule,
                                  list, scratch);
      const auto first = static_cast<int32_t>(tile.document);
      std::for_each(list, list + n, [first](int32_t& row) { row += first; });
      selected.counts[query] = static_cast<int32_t>(n);
    }
  });
}

void begin_index_gradients(const LayerWork& work) {
  const TrainDims& dims = work.dims;
  const size_t n = work.n_tokens();
  std::memset(work.shared.d_index_q, 0, n * query_width(dims) * sizeof(float));
  std::memset(work.shared.d_index_gate, 0, n * dims.index_heads * sizeof(float));
  for (size_t part = 0; part < work.context.n_threads(); ++part) {
    std::memset(work.shared.d_index_key_parts + part * dims.max_tokens * dims.index_dim, 0,
                n * dims.index_dim * sizeof(float));
  }
}

double dense_index_kl(const LayerWork& work, const LayerState& layer, float factor) {
  const std::vector<QueryTile> tiles = work.batch.tiles(index_tile(work.dims));
  const size_t n_parts = work.context.n_threads();
  const size_t part_stride = work.dims.max_tokens * work.dims.index_dim;
  work.context.pool->parallel_for(static_cast<int64_t>(n_parts), [&](int64_t item, int worker) {
    const auto part = static_cast<size_t>(item);
    const IndexTile memory(work, worker);
    for (size_t i = part; i < tiles.size(); i += n_parts) {
      work.shared.row_loss[i] =
          differentiate_tile(work, layer, tiles[i], factor, memory,
                             work.shared.d_index_key_parts + part * part_stride);
    }
  });
  double loss = 0;
  for (size_t i = 0; i < tiles.size(); ++i)
    loss += work.shared.row_loss[i];
  return loss;
}

double selected_index_kl(const LayerWork& work,
                         const SelectedRows& selected,
                         size_t part,
                         int worker,
                         size_t memory_offset,
                         size_t query,
                         const float* target,
                         float factor) {
  const TrainDims& dims = work.dims;
  const kernels::TrainKernels& kernels = work.context.train();
  const size_t dim = dims.index_dim;
  const size_t heads = dims.index_heads;
  const size_t n = selected.count(query);
  const SelectedKeys keys(work, selected, query, worker, memory_offset);
  keys.multiply(work);
  const float* gate = work.shared.index_gate + query * heads;
  kernels.index_scores(keys.qk, selected.stride, heads, n, gate, keys.scores);
  const float lse = work.context.vector().log_sum_exp(keys.scores, n);
  const double loss = kernels.kl_row(target, keys.scores, n, lse, factor);
  kernels.index_scores_backward(keys.qk, selected.stride, heads, n, gate, keys.scores,
                                work.shared.d_index_gate + query * heads);
  keys.multiply_backward(work);
  const int32_t* list = selected.of(query);
  float* sums = work.shared.d_index_key_parts + part * dims.max_tokens * dim;
  for (size_t j = 0; j < n; ++j) {
    work.context.vector().add_scaled(keys.d_keys + j * dim, 1.0F, dim,
                                     sums + static_cast<size_t>(list[j]) * dim);
  }
  return loss;
}

void index_backward(const LayerWork& work,
                    const IndexerParameters& parameters,
                    const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const size_t n = work.n_tokens();
  const size_t dim = dims.index_dim;
  add_parts(work.context, shared.d_index_key_parts, dims.max_tokens * dim, n, dim,
            shared.d_index_key);
  const float factor = gate_factor(dims);
  NormGradients sums(work, 2, dim);
  for_each_part(work.context, n, [&](size_t part, size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      float* d_key = shared.d_index_key + t * dim;
      if (work.config.indexer.hadamard) work.context.vector().hadamard(d_key, dim);
      rotate(work, work.config.indexer.rope_layout, t, true, d_key);
      work.context.train().layer_norm_backward(shared.index_low + t * dim,
                                               vector_of(parameters.k_norm_weight), d_key, dim,
                                               static_cast<float>(work.config.indexer.norm_eps),
                                               d_key, sums.of(part, 0), sums.of(part, 1));
      turn_heads(work, t, true);
      for (size_t h = 0; h < dims.index_heads; ++h)
        shared.d_index_gate[t * dims.index_heads + h] *= factor;
    }
  });
  sums.add_to(0, parameters.k_norm_weight->gradient);
  sums.add_to(1, parameters.k_norm_bias->gradient);
  const Rows normed = {layer.normed, dims.hidden};
  run_products(work.context, {weight_gradient({shared.d_index_q, query_width(dims)},
                                              {layer.c_q, dims.q_rank}, n, parameters.wq_b),
                              weight_gradient({shared.d_index_key, dim}, normed, n, parameters.wk),
                              weight_gradient({shared.d_index_gate, dims.index_heads}, normed, n,
                                              parameters.weights_proj)});
}

}  // namespace dsa::backprop
