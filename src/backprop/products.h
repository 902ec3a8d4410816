// Products of activations and parameters in every orientation that training needs, split over the
// threads. The sum of an element does not depend on how they are split.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dsa/thread_pool.h"

#include "backprop/train_model.h"
#include "kernels/kernel_table.h"
#include "ops/rows.h"

namespace dsa::backprop {

// What every part of the model runs on.
struct TrainContext {
  const kernels::KernelTable* kernels = nullptr;
  ThreadPool* pool = nullptr;
  float* gemm_scratch = nullptr;  // [threads, kGemmScratch]

  const kernels::VectorKernels& vector() const { return *kernels->vector; }
  const kernels::TrainKernels& train() const { return *kernels->train; }
  size_t n_threads() const { return static_cast<size_t>(pool->n_threads()); }
  float* worker_scratch(int worker) const {
    return gemm_scratch + static_cast<size_t>(worker) * kernels::kGemmScratch;
  }
};

// Rows of an activation: [n, width], row stride ld.
struct Rows {
  float* data = nullptr;
  size_t ld = 0;

  float* row(size_t i) const { return data + i * ld; }
  Rows from(size_t first_row) const { return {data + first_row * ld, ld}; }
  Rows columns(size_t first) const { return {data + first, ld}; }
};

// A parameter matrix, or `rows` of its rows.
struct ParameterRows {
  const Parameter* parameter = nullptr;
  size_t first = 0;
  size_t rows = 0;
  size_t cols = 0;

  // Whole matrices convert by themselves.
  ParameterRows(const Parameter* whole);  // NOLINT(google-explicit-constructor)
  ParameterRows(const Parameter* whole, size_t first_row, size_t n_rows);
};

using Product = kernels::GemmArgs;

// y[n, rows] = x[n, cols] W^T
Product forward_product(const Rows& x, size_t n, const ParameterRows& w, const Rows& y);
// dx[n, cols] = dy[n, rows] W
Product input_gradient(const Rows& dy, size_t n, const ParameterRows& w, const Rows& dx);
// W.gradient += dy^T x
Product weight_gradient(const Rows& dy, const Rows& x, size_t n, const ParameterRows& w);

inline Product accumulated(Product product) {
  product.accumulate = true;
  return product;
}

// Products that write to different memory, at once.
void run_products(const TrainContext& context, std::vector<Product> products);

// fn(part, begin, end): the rows in n_threads() contiguous parts, whichever worker runs them.
template <class Fn>
void for_each_part(const TrainContext& context, size_t n_rows, const Fn& fn) {
  const size_t n_parts = context.n_threads();
  context.pool->parallel_for(static_cast<int64_t>(n_parts), [&](int64_t item, int) {
    const auto part = static_cast<size_t>(item);
    fn(part, n_rows * part / n_parts, n_rows * (part + 1) / n_parts);
  });
}

// fn(row) for every row.
template <class Fn>
void for_rows(const TrainContext& context, size_t n_rows, const Fn& fn) {
  for_each_row<16>(context, n_rows, fn);
}

}  // namespace dsa::backprop
