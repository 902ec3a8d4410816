#include "backprop/dense_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/math.h"

namespace dsa::backprop {

namespace {

// One head's operands; rows count from the start of the batch.
struct Head {
  Rows q;
  Rows keys;
  Rows values;
  Rows out;
};

Head head_of(const TrainDims& dims, const LayerState& layer, size_t h) {
  const size_t heads = dims.n_heads;
  return {{layer.q + h * dims.d_q(), heads * dims.d_q()},
          {layer.keys + h * dims.d_q(), heads * dims.d_q()},
          {layer.expanded + h * dims.d_kv() + dims.d_nope, heads * dims.d_kv()},
          {layer.attention + h * dims.d_v, heads * dims.d_v}};
}

Product tile_product(const Rows& a, size_t m, size_t k, const Rows& b, size_t n, const Rows& c) {
  Product product;
  product.a = a.data;
  product.lda = a.ld;
  product.b = b.data;
  product.ldb = b.ld;
  product.m = m;
  product.n = n;
  product.k = k;
  product.c = c.data;
  product.ldc = c.ld;
  return product;
}

// C = A B^T
Product product_nt(const Rows& a, size_t m, size_t k, const Rows& b, size_t n, const Rows& c) {
  Product product = tile_product(a, m, k, b, n, c);
  product.b_transposed = true;
  return product;
}

// C += A B
Product product_nn(const Rows& a, size_t m, size_t k, const Rows& b, size_t n, const Rows& c) {
  return accumulated(tile_product(a, m, k, b, n, c));
}

// C += A^T B; A: [k, m]
Product product_tn(const Rows& a, size_t m, size_t k, const Rows& b, size_t n, const Rows& c) {
  Product product = accumulated(tile_product(a, m, k, b, n, c));
  product.a_transposed = true;
  return product;
}

struct Tile {
  Rows logits;     // [kDenseQueries, kDenseKeys]
  Rows gradient;   // the same of d logits
  float* row_max;  // [kDenseQueries], as the others
  float* row_sum;
  float* lse;
  float* delta;
  int32_t* limit;
  float* gemm_scratch;

  Tile(const LayerWork& work, int worker) {
    WorkerMemory memory(work.shared, static_cast<size_t>(worker));
    logits = {memory.take<float>(kDenseQueries * kDenseKeys), kDenseKeys};
    gradient = {memory.take<float>(kDenseQueries * kDenseKeys), kDenseKeys};
    row_max = memory.take<float>(kDenseQueries);
    row_sum = memory.take<float>(kDenseQueries);
    lse = memory.take<float>(kDenseQueries);
    delta = memory.take<float>(kDenseQueries);
    limit = memory.take<int32_t>(kDenseQueries);
    gemm_scratch = work.context.worker_scratch(worker);
  }

  void run_product(const LayerWork& work, Product product) const {
    product.scratch = gemm_scratch;
    work.context.train().gemm(product);
  }

  // Query i of the tile sees the keys below limit[i], counted from first_key.
  void set_limits(const QueryTile& tile, size_t first_key) const {
    for (size_t i = 0; i < tile.n; ++i) {
      limit[i] = static_cast<int32_t>(static_cast<int64_t>(tile.begin + i + 1) -
                                      static_cast<int64_t>(first_key));
    }
  }
};

void attend_tile(const LayerWork& work,
                 const LayerState& layer,
                 const QueryTile& queries,
                 size_t h,
                 const Tile& tile) {
  const TrainDims& dims = work.dims;
  const Head head = head_of(dims, layer, h);
  const Rows out = head.out.from(queries.begin);
  for (size_t i = 0; i < queries.n; ++i)
    std::fill_n(out.row(i), dims.d_v, 0.0F);
  std::fill_n(tile.row_max, queries.n, -std::numeric_limits<float>::infinity());
  std::fill_n(tile.row_sum, queries.n, 0.0F);
  const size_t end = queries.begin + queries.n;
  for (size_t key = queries.document; key < end; key += kDenseKeys) {
    const size_t n = std::min(kDenseKeys, end - key);
    tile.run_product(work, product_nt(head.q.from(queries.begin), queries.n, dims.d_q(),
                                      head.keys.from(key), n, tile.logits));
    tile.set_limits(queries, key);
    kernels::OnlineSoftmaxArgs softmax;
    softmax.s = tile.logits.data;
    softmax.ld = tile.logits.ld;
    softmax.m = queries.n;
    softmax.n = n;
    softmax.scale = dims.scale;
    softmax.limit = tile.limit;
    softmax.row_max = tile.row_max;
    softmax.row_sum = tile.row_sum;
    softmax.acc = out.data;
    softmax.ld_acc = out.ld;
    softmax.d_v = dims.d_v;
    work.context.kernels->attention->online_softmax(softmax);
    tile.run_product(work,
                     product_nn(tile.logits, queries.n, n, head.values.from(key), dims.d_v, out));
  }
  for (size_t i = 0; i < queries.n; ++i) {
    const float factor = 1.0F / tile.row_sum[i];
    std::for_each(out.row(i), out.row(i) + dims.d_v, [factor](float& x) { x *= factor; });
    layer.lse[(queries.begin + i) * dims.n_heads + h] = tile.row_max[i] + std::log(tile.row_sum[i]);
  }
}

// What one tile of queries adds to the gradients of one head.
void differentiate_tile(const LayerWork& work,
                        const LayerState& layer,
                        const QueryTile& queries,
                        size_t h,
                        const Tile& tile) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const Head head = head_of(dims, layer, h);
  const size_t heads = dims.n_heads;
  const Rows d_q = {shared.d_q + h * dims.d_q(), heads * dims.d_q()};
  const Rows d_keys = {shared.d_keys + h * dims.d_q(), heads * dims.d_q()};
  const Rows d_values = {shared.d_expanded + h * dims.d_kv() + dims.d_nope, heads * dims.d_kv()};
  const Rows d_out = {shared.d_attention + h * dims.d_v, heads * dims.d_v};
  const Rows q = head.q.from(queries.begin);
  const Rows d_tile = d_out.from(queries.begin);
  for (size_t i = 0; i < queries.n; ++i) {
    tile.lse[i] = layer.lse[(queries.begin + i) * heads + h];
    tile.delta[i] = shared.delta[(queries.begin + i) * heads + h];
  }
  const size_t end = queries.begin + queries.n;
  for (size_t key = queries.document; key < end; key += kDenseKeys) {
    const size_t n = std::min(kDenseKeys, end - key);
    const size_t m = queries.n;
    tile.set_limits(queries, key);
    tile.run_product(work, product_nt(q, m, dims.d_q(), head.keys.from(key), n, tile.logits));
    work.context.train().exp_rows({tile.logits.data, kDenseKeys, m, n, tile.limit}, dims.scale,
                                  tile.lse);
    tile.run_product(work,
                     product_nt(d_tile, m, dims.d_v, head.values.from(key), n, tile.gradient));
    tile.run_product(work, product_tn(tile.logits, n, m, d_tile, dims.d_v, d_values.from(key)));
    work.context.train().softmax_backward({tile.gradient.data, kDenseKeys, m, n, nullptr},
                                          tile.logits.data, kDenseKeys, dims.scale, tile.delta);
    tile.run_product(work, product_nn(tile.gradient, m, n, head.keys.from(key), dims.d_q(),
                                      d_q.from(queries.begin)));
    tile.run_product(work, product_tn(tile.gradient, n, m, q, dims.d_q(), d_keys.from(key)));
  }
}

}  // namespace

size_t dense_attention_bytes(const TrainDims& dims) {
  (void)dims;
  constexpr size_t kVectors = 5;
  return (2 * kDenseQueries * kDenseKeys + kVectors * round_up<size_t>(kDenseQueries, 16)) *
         sizeof(float);
}

void dense_attention(const LayerWork& work, const LayerState& layer) {
  const std::vector<QueryTile> tiles = work.batch.tiles(kDenseQueries);
  const size_t heads = work.dims.n_heads;
  // The longest rows first.
  work.context.pool->parallel_for(
      static_cast<int64_t>(tiles.size() * heads), [&](int64_t item, int worker) {
        const auto index = static_cast<size_t>(item);
        attend_tile(work, layer, tiles[tiles.size() - 1 - index / heads], index % heads,
                    Tile(work, worker));
      });
}

void dense_attention_backward(const LayerWork& work, const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const size_t n = work.n_tokens();
  std::memset(shared.d_q, 0, n * dims.n_heads * dims.d_q() * sizeof(float));
  std::memset(shared.d_keys, 0, n * dims.n_heads * dims.d_q() * sizeof(float));
  std::memset(shared.d_expanded, 0, n * dims.n_heads * dims.d_kv() * sizeof(float));
  // A head of a document writes what no other does.
  const std::vector<QueryTile> tiles = work.batch.tiles(kDenseQueries);
  std::vector<std::pair<size_t, size_t>> documents;  // their tiles
  for (size_t i = 0; i < tiles.size(); ++i) {
    if (i == 0 || tiles[i].document != tiles[i - 1].document) documents.emplace_back(i, i);
    documents.back().second = i + 1;
  }
  std::stable_sort(documents.begin(), documents.end(), [](const auto& a, const auto& b) {
    return a.second - a.first > b.second - b.first;
  });
  work.context.pool->parallel_for(
      static_cast<int64_t>(documents.size() * dims.n_heads), [&](int64_t item, int worker) {
        const auto index = static_cast<size_t>(item);
        const auto [first, last] = documents[index / dims.n_heads];
        const Tile tile(work, worker);
        for (size_t i = first; i < last; ++i)
          differentiate_tile(work, layer, tiles[i], index % dims.n_heads, tile);
      });
}

void head_mean(const LayerWork& work,
               const LayerState& layer,
               const QueryTile& tile,
               size_t first_key,
               size_t n_keys,
               float* logits,
               float* gemm_scratch,
               float* sums,
               size_t ld_sums) {
  const TrainDims& dims = work.dims;
  std::vector<float> lse(tile.n);
  std::vector<int32_t> limit(tile.n);
  for (size_t i = 0; i < tile.n; ++i) {
    limit[i] = static_cast<int32_t>(static_cast<int64_t>(tile.begin + i + 1) -
                                    static_cast<int64_t>(first_key));
    std::fill_n(sums + i * ld_sums, n_keys, 0.0F);
  }
  for (size_t h = 0; h < dims.n_heads; ++h) {
    const Head head = head_of(dims, layer, h);
    for (size_t i = 0; i < tile.n; ++i)
      lse[i] = layer.lse[(tile.begin + i) * dims.n_heads + h];
    Product product = product_nt(head.q.from(tile.begin), tile.n, dims.d_q(),
                                 head.keys.from(first_key), n_keys, {logits, n_keys});
    product.scratch = gemm_scratch;
    work.context.train().gemm(product);
    work.context.train().add_exp_rows({logits, n_keys, tile.n, n_keys, limit.data()}, dims.scale,
                                      lse.data(), 1.0F / static_cast<float>(dims.n_heads), sums,
                                      ld_sums);
  }
}

}  // namespace dsa::backprop
