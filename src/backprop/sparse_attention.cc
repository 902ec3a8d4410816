#include "backprop/sparse_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/math.h"

namespace dsa::backprop {

namespace {

struct Gathered {
  size_t stride;      // most rows a query selects
  float* rows;        // [n, d_row]
  float* transposed;  // [d_row, stride]
  float* p;           // [n_heads, stride]
  float* dp;          // [n_heads, stride]
  float* d_rows;      // [n, d_row]
  float* target;      // [stride]
  float* row_max;     // [n_heads]
  float* row_sum;
  float* gemm_scratch;

  Gathered(const LayerWork& work, const SelectedRows& selected, int worker)
      : stride(selected.stride) {
    const TrainDims& dims = work.dims;
    WorkerMemory memory(work.shared, static_cast<size_t>(worker));
    rows = memory.take<float>(stride * dims.d_row());
    transposed = memory.take<float>(stride * dims.d_row());
    p = memory.take<float>(stride * dims.n_heads);
    dp = memory.take<float>(stride * dims.n_heads);
    d_rows = memory.take<float>(stride * dims.d_row());
    target = memory.take<float>(stride);
    row_max = memory.take<float>(dims.n_heads);
    row_sum = memory.take<float>(dims.n_heads);
    gemm_scratch = work.context.worker_scratch(worker);
  }

  void gather(const LayerWork& work, const LayerState& layer, size_t query) const {
    const size_t width = work.dims.d_row();
    const size_t n = layer.selected.count(query);
    const int32_t* list = layer.selected.of(query);
    for (size_t j = 0; j < n; ++j) {
      std::memcpy(rows + j * width, layer.rows + static_cast<size_t>(list[j]) * width,
                  width * sizeof(float));
    }
    work.context.train().transpose(rows, width, n, width, transposed, stride);
  }

  // c[m, n] (+)= a b
  void multiply(const LayerWork& work,
                const float* a,
                size_t lda,
                bool a_transposed,
                const float* b,
                size_t ldb,
                size_t m,
                size_t n,
                size_t k,
                float* c,
                size_t ldc,
                bool accumulate) const {
    Product product;
    product.a = a;
    product.lda = lda;
    product.a_transposed = a_transposed;
    product.b = b;
    product.ldb = ldb;
    product.m = m;
    product.n = n;
    product.k = k;
    product.c = c;
    product.ldc = ldc;
    product.accumulate = accumulate;
    product.scratch = gemm_scratch;
    work.context.train().gemm(product);
  }
};

void attend_query(const LayerWork& work, const LayerState& layer, size_t query, const Gathered& g) {
  const TrainDims& dims = work.dims;
  const size_t heads = dims.n_heads;
  const size_t n = layer.selected.count(query);
  const float* q = layer.absorbed_q + query * heads * dims.d_row();
  float* out = layer.absorbed_out + query * heads * dims.d_latent;
  g.gather(work, layer, query);
  g.multiply(work, q, dims.d_row(), false, g.transposed, g.stride, heads, n, dims.d_row(), g.p,
             g.stride, false);
  std::fill_n(g.row_max, heads, -std::numeric_limits<float>::infinity());
  std::fill_n(g.row_sum, heads, 0.0F);
  kernels::OnlineSoftmaxArgs softmax;
  softmax.s = g.p;
  softmax.ld = g.stride;
  softmax.m = heads;
  softmax.n = n;
  softmax.scale = dims.scale;
  softmax.row_max = g.row_max;
  softmax.row_sum = g.row_sum;
  work.context.kernels->attention->online_softmax(softmax);
  g.multiply(work, g.p, g.stride, false, g.rows, dims.d_row(), heads, dims.d_latent, n, out,
             dims.d_latent, false);
  for (size_t h = 0; h < heads; ++h) {
    const float factor = 1.0F / g.row_sum[h];
    float* row = out + h * dims.d_latent;
    std::for_each(row, row + dims.d_latent, [factor](float& x) { x *= factor; });
    layer.lse[query * heads + h] = g.row_max[h] + std::log(g.row_sum[h]);
  }
}

// The head-mean of the probabilities that attend_query left unnormalised.
void mean_target(const LayerWork& work, size_t n, const Gathered& g) {
  const size_t heads = work.dims.n_heads;
  std::fill_n(g.target, n, 0.0F);
  for (size_t h = 0; h < heads; ++h) {
    work.context.vector().add_scaled(
        g.p + h * g.stride, 1.0F / (g.row_sum[h] * static_cast<float>(heads)), n, g.target);
  }
}

void differentiate_query(const LayerWork& work,
                         const LayerState& layer,
                         size_t query,
                         const Gathered& g,
                         float* d_row_part) {
  const TrainDims& dims = work.dims;
  const SharedState& shared = work.shared;
  const size_t heads = dims.n_heads;
  const size_t width = dims.d_row();
  const size_t n = layer.selected.count(query);
  const float* q = layer.absorbed_q + query * heads * width;
  const float* d_out = shared.d_absorbed_out + query * heads * dims.d_latent;
  g.gather(work, layer, query);
  g.multiply(work, q, width, false, g.transposed, g.stride, heads, n, width, g.p, g.stride, false);
  work.context.train().exp_rows({g.p, g.stride, heads, n, nullptr}, dims.scale,
                                layer.lse + query * heads);
  g.multiply(work, d_out, dims.d_latent, false, g.transposed, g.stride, heads, n, dims.d_latent,
             g.dp, g.stride, false);
  work.context.train().softmax_backward({g.dp, g.stride, heads, n, nullptr}, g.p, g.stride,
                                        dims.scale, shared.delta + query * heads);
  g.multiply(work, g.dp, g.stride, false, g.rows, width, heads, width, n,
             shared.d_absorbed_q + query * heads * width, width, false);
  g.multiply(work, g.dp, g.stride, true, q, width, n, width, heads, g.d_rows, width, false);
  g.multiply(work, g.p, g.stride, true, d_out, dims.d_latent, n, dims.d_latent, heads, g.d_rows,
             width, true);
  const int32_t* list = layer.selected.of(query);
  for (size_t j = 0; j < n; ++j) {
    work.context.vector().add_scaled(g.d_rows + j * width, 1.0F, width,
                                     d_row_part + static_cast<size_t>(list[j]) * width);
  }
}

// fn(query, part, worker) for every query, part by part.
template <class Fn>
void deal_queries(const LayerWork& work, const Fn& fn) {
  const size_t n_parts = work.context.n_threads();
  const size_t n = work.n_tokens();
  work.context.pool->parallel_for(static_cast<int64_t>(n_parts), [&](int64_t item, int worker) {
    const auto part = static_cast<size_t>(item);
    for (size_t begin = part * kSparseQueries; begin < n; begin += n_parts * kSparseQueries) {
      for (size_t query = begin; query < std::min(n, begin + kSparseQueries); ++query)
        fn(query, part, worker);
    }
  });
}

}  // namespace

size_t sparse_attention_bytes(const TrainDims& dims, size_t max_selected) {
  constexpr size_t kPieces = 8;
  const size_t values = max_selected * (3 * dims.d_row() + 2 * dims.n_heads + 1) + 2 * dims.n_heads;
  return (values + kPieces * 16) * sizeof(float);
}

void sparse_attention(const LayerWork& work,
                      const LayerState& layer,
                      const SelectedTarget& target) {
  deal_queries(work, [&](size_t query, size_t part, int worker) {
    const Gathered gathered(work, layer.selected, worker);
    attend_query(work, layer, query, gathered);
    if (!target) return;
    const size_t n = layer.selected.count(query);
    mean_target(work, n, gathered);
    target(part, worker, query, gathered.target, n);
  });
}

void sparse_attention_backward(const LayerWork& work, const LayerState& layer) {
  const TrainDims& dims = work.dims;
  const size_t stride = dims.max_tokens * dims.d_row();
  for_each_part(work.context, work.context.n_threads(), [&](size_t, size_t begin, size_t end) {
    for (size_t part = begin; part < end; ++part) {
      std::memset(work.shared.d_row_parts + part * stride, 0,
                  work.n_tokens() * dims.d_row() * sizeof(float));
    }
  });
  deal_queries(work, [&](size_t query, size_t part, int worker) {
    const Gathered gathered(work, layer.selected, worker);
    differentiate_query(work, layer, query, gathered, work.shared.d_row_parts + part * stride);
  });
  add_parts(work.context, work.shared.d_row_parts, stride, work.n_tokens(), dims.d_row(),
            work.shared.d_rows);
}

void add_parts(const TrainContext& context,
               const float* parts,
               size_t part_stride,
               size_t n_rows,
               size_t width,
               float* to) {
  for_rows(context, n_rows, [&](size_t row) {
    float* out = to + row * width;
    std::memcpy(out, parts + row * width, width * sizeof(float));
    for (size_t part = 1; part < context.n_threads(); ++part)
      context.vector().add_scaled(parts + part * part_stride + row * width, 1.0F, width, out);
  });
}

}  // namespace dsa::backprop
