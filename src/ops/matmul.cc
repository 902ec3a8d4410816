#include "ops/matmul.h"

#include <algorithm>
#include <vector>

#include "common/math.h"
#include "ops/dequantized_product.h"

namespace dsa {

namespace {

constexpr size_t kTileRows = 64;                // rows of A in one work item
constexpr size_t kTileWeightBytes = 128 << 10;  // weights read by one work item, at most
constexpr size_t kTileColumnStep = 16;
constexpr size_t kMinTileColumns = 32;  // of many rows of A: each reads them all

kernels::WeightView view_of(const Weight& w) {
  return {w.data, w.row_bytes, w.scale, w.scale_ld, w.first_row, w.first_col};
}

MatmulJob make_job(
    const OpContext& context, const Activation& a, size_t m, const Weight& w, bool transposed) {
  const kernels::MatmulKernels& kernels = *context.kernels->matmul;
  MatmulJob job;
  if (a.bf16 != nullptr && wanted_activation(context, w.dtype) == ActivationFormat::kBF16) {
    job.fn = kernels.product(transposed, ActivationFormat::kBF16, w.dtype);
  }
  if (job.fn != nullptr) {
    job.args.a = a.bf16;
    job.a_element_bytes = sizeof(uint16_t);
  } else {
    job.fn = kernels.product(transposed, ActivationFormat::kF32, w.dtype);
    job.args.a = a.f32;
    job.a_element_bytes = sizeof(float);
  }
  job.weight_dtype = w.dtype;
  job.transposed = transposed;
  job.args.lda = a.ld;
  job.args.m = m;
  job.args.w = view_of(w);
  job.args.n = transposed ? w.rows : w.cols;
  job.args.k = transposed ? w.cols : w.rows;
  return job;
}

void run_job(const kernels::MatmulKernels& kernels,
             const MatmulJob& job,
             const kernels::MatmulArgs& args) {
  if (job.fn != nullptr) return job.fn(args);
  multiply_dequantized(kernels, job.weight_dtype, job.transposed, args);
}

// How a job is cut into work items.
struct Tiling {
  size_t tile_n = 0;
  size_t tiles_m = 0;
  size_t tiles_n = 0;
};

Tiling tile(const MatmulJob& job) {
  const size_t column_bytes = std::max<size_t>(Weight::bytes_of(job.weight_dtype, job.args.k), 1);
  Tiling tiling;
  const size_t step = std::max(kTileColumnStep, weight_format(job.weight_dtype).block_values);
  tiling.tile_n = round_up(std::max<size_t>(kTileWeightBytes / column_bytes, 1), step);
  if (job.args.m >= kTileColumnStep)
    tiling.tile_n = std::max(tiling.tile_n, round_up(kMinTileColumns, step));
  tiling.tiles_m = ceil_div(job.args.m, kTileRows);
  tiling.tiles_n = ceil_div(job.args.n, tiling.tile_n);
  return tiling;
}

// Neighbouring items share the weights and differ in the rows of A.
void run_tile(const kernels::MatmulKernels& kernels,
              const MatmulJob& job,
              const Tiling& tiling,
              size_t index) {
  const size_t i = index % tiling.tiles_m * kTileRows;
  const size_t j = index / tiling.tiles_m * tiling.tile_n;
  kernels::MatmulArgs args = job.args;
  args.m = std::min(kTileRows, job.args.m - i);
  args.n = std::min(tiling.tile_n, job.args.n - j);
  args.a = static_cast<const uint8_t*>(job.args.a) + i * args.lda * job.a_element_bytes;
  const size_t skipped =
      job.transposed ? j * args.w.row_bytes : Weight::bytes_of(job.weight_dtype, j);
  args.w.data = static_cast<const uint8_t*>(args.w.data) + skipped;
  (job.transposed ? args.w.row0 : args.w.col0) += j;
  args.c += i * args.ldc + j;
  run_job(kernels, job, args);
}

}  // namespace

MatmulJob matmul_nt(const OpContext& context,
                    const Activation& a,
                    size_t m,
                    const Weight& w,
                    float* c,
                    size_t ldc) {
  MatmulJob job = make_job(context, a, m, w, true);
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
  MatmulJob job = make_job(context, a, m, w, false);
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
    run_tile(*context.kernels->matmul, jobs[j], tilings[j], index - first);
  });
}

void run_here(const OpContext& context, const MatmulJob& job) {
  run_job(*context.kernels->matmul, job, job.args);
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

void load_row(const OpContext& context, const Weight& w, size_t row, float* out) {
  context.kernels->matmul->dequantize_row[static_cast<size_t>(w.dtype)](view_of(w), row, 0, w.cols,
                                                                        out);
}

}  // namespace dsa
