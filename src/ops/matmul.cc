#include "ops/matmul.h"

#include <algorithm>
#include <vector>

#include "common/math.h"

namespace dsa {

namespace {

constexpr size_t kTileRows = 64;                // rows of A in one work item
constexpr size_t kTileWeightBytes = 128 << 10;  // weights read by one work item, at most
constexpr size_t kTileColumnStep = 16;
constexpr size_t kMinTileColumns = 32;  // of many rows of A: each reads them all

kernels::MatmulFn pick(const kernels::MatmulByWeight& by_weight, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return by_weight.f32;
    case DType::kF16:
      return by_weight.f16;
    case DType::kBF16:
      return by_weight.bf16;
    default:
      return by_weight.e4m3;
  }
}

MatmulJob make_job(const kernels::MatmulByWeight& with_f32,
                   const kernels::MatmulByWeight& with_bf16,
                   const Activation& a,
                   size_t m,
                   const Weight& w) {
  const bool use_bf16 = a.bf16 != nullptr && (w.dtype == DType::kBF16 || w.dtype == DType::kE4M3);
  MatmulJob job;
  job.fn = pick(use_bf16 ? with_bf16 : with_f32, w.dtype);
  job.weight_dtype = w.dtype;
  if (use_bf16) {
    job.args.a = a.bf16;
    job.a_element_bytes = sizeof(uint16_t);
  } else {
    job.args.a = a.f32;
    job.a_element_bytes = sizeof(float);
  }
  job.args.lda = a.ld;
  job.args.m = m;
  job.args.w = {w.data, w.cols, w.scale, w.scale_ld, w.first_row, 0};
  return job;
}

// How a job is cut into work items.
struct Tiling {
  size_t tile_n = 0;
  size_t tiles_m = 0;
  size_t tiles_n = 0;
};

Tiling tile(const MatmulJob& job) {
  const size_t column_bytes = std::max<size_t>(job.args.k * dtype_bytes(job.weight_dtype), 1);
  Tiling tiling;
  tiling.tile_n = round_up(std::max<size_t>(kTileWeightBytes / column_bytes, 1), kTileColumnStep);
  if (job.args.m >= kTileColumnStep) tiling.tile_n = std::max(tiling.tile_n, kMinTileColumns);
  tiling.tiles_m = ceil_div(job.args.m, kTileRows);
  tiling.tiles_n = ceil_div(job.args.n, tiling.tile_n);
  return tiling;
}

// Neighbouring items share the weights and differ in the rows of A.
void run_tile(const MatmulJob& job, const Tiling& tiling, size_t index) {
  const size_t i = index % tiling.tiles_m * kTileRows;
  const size_t j = index / tiling.tiles_m * tiling.tile_n;
  kernels::MatmulArgs args = job.args;
  args.m = std::min(kTileRows, job.args.m - i);
  args.n = std::min(tiling.tile_n, job.args.n - j);
  args.a = static_cast<const uint8_t*>(job.args.a) + i * args.lda * job.a_element_bytes;
  const size_t weight_step = job.transposed ? j * args.w.ld : j;
  args.w.data =
      static_cast<const uint8_t*>(args.w.data) + weight_step * dtype_bytes(job.weight_dtype);
  (job.transposed ? args.w.row0 : args.w.col0) += j;
  args.c += i * args.ldc + j;
  job.fn(args);
}

}  // namespace

MatmulJob matmul_nt(const OpContext& context,
                    const Activation& a,
                    size_t m,
                    const Weight& w,
                    float* c,
                    size_t ldc) {
  const kernels::MatmulKernels& kernels = *context.kernels->matmul;
  MatmulJob job = make_job(kernels.nt_f32, kernels.nt_bf16, a, m, w);
  job.transposed = true;
  job.args.n = w.rows;
  job.args.k = w.cols;
  job.args.c = c;
  job.args.ldc = ldc;
  return job;
}

MatmulJob matmul_nn(const OpContext& context,
                    const Activation& a,
                    size_t m,
                    const Weight& w,
                    float* c,
                    size_t ldc) {
  const kernels::MatmulKernels& kernels = *context.kernels->matmul;
  MatmulJob job = make_job(kernels.nn_f32, kernels.nn_bf16, a, m, w);
  job.transposed = false;
  job.args.n = w.cols;
  job.args.k = w.rows;
  job.args.c = c;
  job.args.ldc = ldc;
  return job;
}

void run_matmuls(const OpContext& context, std::span<const MatmulJob> jobs) {
  std::vector<Tiling> tilings;
  std::vector<size_t> ends;  // ends[j]: work items of jobs 0..j
  tilings.reserve(jobs.size());
  ends.reserve(jobs.size());
  size_t n_items = 0;
  for (const MatmulJob& job : jobs) {
    tilings.push_back(tile(job));
    n_items += tilings.back().tiles_m * tilings.back().tiles_n;
    ends.push_back(n_items);
  }
  context.pool->parallel_for(static_cast<int64_t>(n_items), [&](int64_t item, int) {
    const auto index = static_cast<size_t>(item);
    const auto end = std::upper_bound(ends.begin(), ends.end(), index);
    const auto j = static_cast<size_t>(end - ends.begin());
    const size_t first = j == 0 ? 0 : ends[j - 1];
    run_tile(jobs[j], tilings[j], index - first);
  });
}

void linear(const OpContext& context,
            const Activation& a,
            size_t m,
            const Weight& w,
            float* c,
            size_t ldc) {
  const MatmulJob job = matmul_nt(context, a, m, w, c, ldc);
  run_matmuls(context, {&job, 1});
}

}  // namespace dsa
