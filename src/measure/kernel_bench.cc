// Every kernel at DeepSeek-V3.2's shape, compared with its limit.
#include <algorithm>
#include <numeric>
#include <optional>
#include <random>
#include <span>

#include "dsa_measure/bench.h"

#include "common/status_macros.h"
#include "kernels/tiers.h"
#include "measure/machine.h"
#include "measure/random_cache.h"
#include "measure/timing.h"
#include "measure/yardstick.h"
#include "model/random_source.h"
#include "model/weights.h"
#include "ops/attend_rows.h"
#include "ops/indexer.h"
#include "ops/indexer_parts.h"
#include "ops/matmul.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

namespace {

constexpr size_t kContext = 131072;
constexpr size_t kTopK = 2048;
constexpr size_t kLists = 8;  // selections that calls take in turn
constexpr LatentLayout kLatent = {CacheFormat::kFp8, 512, 64};
constexpr IndexerDims kIndexer = {64, 128, {CacheFormat::kFp8, 128}};
constexpr CacheFormat kFormats[] = {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32};

// What the cases of all tiers and threads work on.
struct Data {
  std::vector<AlignedBuffer> memory;
  std::vector<LayerCache> caches;  // [format]
  std::vector<int32_t> pages;
  std::vector<int32_t> lists;  // [kLists, kTopK] ascending
  std::vector<int32_t> all_rows;
  std::vector<float> values = normal_values(size_t{1} << 22, 3);  // activations
  RandomSource bf16{DType::kBF16, 1};
  RandomSource fp8{DType::kE4M3, 1};
  Weight weights[2];  // [n, k] bf16 and e4m3
};

constexpr int64_t kWeightRows = 7168;
constexpr int64_t kWeightCols = 16384;

Result<Weight> make_weight(const RandomSource& source, DType dtype) {
  DSA_ASSIGN_OR_RETURN(const StoredTensor* tensor,
                       source.require("w", {kWeightRows, kWeightCols}, {dtype}));
  Weight weight = Weight::dense(dtype, tensor->data.data(), static_cast<size_t>(kWeightRows),
                                static_cast<size_t>(kWeightCols));
  if (!weight_format(dtype).scale_grid) return weight;
  DSA_ASSIGN_OR_RETURN(
      tensor, source.require("w_scale_inv", {kWeightRows / 128, kWeightCols / 128}, {DType::kF32}));
  const void* scale = tensor->data.data();
  weight.scale = static_cast<const float*>(scale);
  weight.scale_ld = static_cast<size_t>(kWeightCols / 128);
  return weight;
}

Status make_caches(const OpContext& context, Data* data) {
  data->pages.resize(kIndexer.layout.page.pages(kContext));
  std::iota(data->pages.begin(), data->pages.end(), 0);
  for (const CacheFormat format : kFormats) {
    LatentLayout latent = kLatent;
    latent.format = format;
    const IndexKeyLayout index = {format, kIndexer.dim};
    DSA_ASSIGN_OR_RETURN(AlignedBuffer latents,
                         AlignedBuffer::allocate(kContext * latent.row_bytes(), "latents"));
    DSA_ASSIGN_OR_RETURN(AlignedBuffer keys,
                         AlignedBuffer::allocate(kContext * index.entry_bytes(), "indexer keys"));
    data->caches.push_back(
        {{latent, latents.data(), data->pages, index.page}, {index, keys.data(), data->pages}});
    data->memory.push_back(std::move(latents));
    data->memory.push_back(std::move(keys));
    fill_cache(context, data->caches.back(), kContext);
  }
  return {};
}

void make_lists(Data* data) {
  data->all_rows.resize(kContext);
  std::iota(data->all_rows.begin(), data->all_rows.end(), 0);
  std::mt19937 random(5);
  for (size_t list = 0; list < kLists; ++list) {
    std::sample(data->all_rows.begin(), data->all_rows.end(), std::back_inserter(data->lists),
                kTopK, random);
  }
}

// The cases of one tier and number of threads.
class Cases {
 public:
  Cases(const Data& data,
        const OpContext& context,
        MachineLimits limits,
        const KernelBenchOptions& options,
        const std::function<bool(const KernelMeasure&)>& done)
      : data_(data),
        context_(context),
        limits_(std::move(limits)),
        options_(options),
        done_(done) {}

  Status run() {
    const bool slow = std::string_view(context_.kernels->tier_name) == "scalar";
    for (const CacheFormat format : kFormats) {
      DSA_RETURN_IF_ERROR(index_scores(format, 1, slow ? kContext / 16 : kContext));
      DSA_RETURN_IF_ERROR(index_scores(format, 16, slow ? kContext / 64 : kContext / 8));
    }
    if (context_.kernels->indexer->estimate != nullptr) {
      DSA_RETURN_IF_ERROR(estimates(1, kContext));
      DSA_RETURN_IF_ERROR(estimates(16, kContext / 8));
    }
    DSA_RETURN_IF_ERROR(top_k());
    for (const CacheFormat format : kFormats) {
      for (const size_t n_heads : {size_t{128}, size_t{64}, size_t{16}}) {
        DSA_RETURN_IF_ERROR(attend(format, n_heads, kTopK));
      }
    }
    DSA_RETURN_IF_ERROR(attend(CacheFormat::kFp8, 128, slow ? kContext / 16 : kContext));
    for (const Weight& weight : data_.weights) {
      for (const size_t m : {size_t{1}, size_t{64}, size_t{256}}) {
        if (!slow || m == 1) DSA_RETURN_IF_ERROR(product(weight, m));
      }
    }
    return {};
  }

  int64_t n_measured() const { return n_measured_; }

 private:
  static constexpr uint64_t kRounds = 160'000;  // about a millisecond

  struct Work {
    std::string kernel;
    std::string shape;
    double flops = 0;
    DotLoop dot = nullptr;  // whose peak binds the operations
    double bytes = 0;
    double bandwidth = 1;
    const uint8_t* streamed =
        nullptr;  // `bytes` bytes that are read in order; null: bandwidth says
    bool int8 = false;
    double recall = 1;
  };

  template <class Call>
  Status report(const Work& work, const Call& call) {
    if (stopped_ || !wanted(work.kernel)) return {};
    KernelMeasure measure;
    measure.kernel = work.kernel;
    measure.shape = work.shape;
    measure.tier = context_.kernels->tier_name;
    measure.n_threads = context_.pool->n_threads();
    // The limit is measured interleaved with the kernel: a slow phase of the machine slows both.
    std::vector<double> dots;
    std::vector<double> reads;
    measure.ms = time_repeatedly(options_.repetitions, call, [&] {
      if (work.flops > 0) {
        dots.push_back(seconds_of([&] { run_dots(context_.pool, work.dot, kRounds); }));
      }
      if (work.streamed == nullptr) return;
      reads.push_back(seconds_of([&] {
        read_all(context_.pool, *context_.kernels->peak, work.streamed,
                 static_cast<size_t>(work.bytes));
      }));
    });
    const double compute = dots.empty()
                               ? 0
                               : work.flops / work.dot(1) * timing_of(std::move(dots)).median /
                                     static_cast<double>(kRounds);
    const double memory =
        reads.empty() ? work.bytes / work.bandwidth * 1e3 : timing_of(std::move(reads)).median;
    measure.limit_ms = std::max(compute, memory);
    measure.bound = compute < memory ? "bytes" : work.int8 ? "int8" : "flops";
    measure.recall = work.recall;
    stopped_ = !done_(measure);
    ++n_measured_;
    return {};
  }

  bool wanted(const std::string& kernel) const {
    return kernel.find(options_.only) != std::string::npos;
  }

  DotLoop dot_loop(CacheFormat format) const {
    const kernels::PeakKernels& peak = *context_.kernels->peak;
    return format == CacheFormat::kF32 || peak.bf16_dot == nullptr ? peak.f32_dot : peak.bf16_dot;
  }
  const LayerCache& cache(CacheFormat format) const {
    return data_.caches[static_cast<size_t>(format)];
  }

  // Packed for exact scores; q and gates as pack_queries() leaves them.
  struct Queries {
    std::vector<float> q;
    std::vector<float> gates;
    AlignedBuffer packed;
    std::vector<const void*> rows;
  };

  Result<Queries> make_queries(const IndexerDims& dims, size_t n_queries) const {
    const size_t bytes =
        context_.kernels->indexer->packed_query_bytes(dims.layout.format, dims.n_heads, dims.dim);
    const auto n_gates = static_cast<std::ptrdiff_t>(n_queries * dims.n_heads);
    const auto n_values = n_gates * static_cast<std::ptrdiff_t>(dims.dim);
    Queries queries;
    queries.q.assign(data_.values.begin(), data_.values.begin() + n_values);
    queries.gates.assign(data_.values.end() - n_gates, data_.values.end());
    DSA_ASSIGN_OR_RETURN(queries.packed, AlignedBuffer::allocate(n_queries * bytes, "queries"));
    pack_queries(context_, dims, {queries.q.data(), queries.gates.data(), n_queries, 0},
                 queries.packed.data(), bytes);
    for (size_t i = 0; i < n_queries; ++i)
      queries.rows.push_back(queries.packed.data() + i * bytes);
    return queries;
  }

  Status index_scores(CacheFormat format, size_t n_queries, size_t n_keys) {
    IndexerDims dims = kIndexer;
    dims.layout.format = format;
    DSA_ASSIGN_OR_RETURN(const Queries queries, make_queries(dims, n_queries));
    std::vector<float> scores(n_queries * n_keys);
    Work work;
    work.kernel = std::string("indexer scores ") + cache_format_name(format);
    work.shape = fmt::format("{} x {} keys, 64 heads x 128", n_queries, n_keys);
    work.flops = 2.0 * static_cast<double>(n_queries * n_keys * dims.n_heads * dims.dim);
    work.dot = dot_loop(format);
    work.bytes = static_cast<double>(n_keys * dims.layout.entry_bytes());
    work.bandwidth = limits_.read_bytes;
    return report(work, [&] {
      score_keys(context_, dims, queries.rows.data(), n_queries, cache(format).keys.base,
                 data_.pages.data(), n_keys, scores.data(), n_keys);
    });
  }

  // The first pass of a pruned selection, and how good a selection it would be by itself.
  Status estimates(size_t n_queries, size_t n_keys) {
    const kernels::IndexerKernels& kernels = *context_.kernels->indexer;
    const size_t n_q = kIndexer.n_heads * kIndexer.dim;
    const size_t bytes = kernels.estimate->packed_bytes(kIndexer.n_heads, kIndexer.dim);
    DSA_ASSIGN_OR_RETURN(const Queries queries, make_queries(kIndexer, n_queries));
    DSA_ASSIGN_OR_RETURN(const AlignedBuffer packed,
                         AlignedBuffer::allocate(n_queries * bytes, "queries"));
    std::vector<const void*> rows(n_queries);
    for (size_t i = 0; i < n_queries; ++i) {
      kernels.estimate->pack(queries.q.data() + i * n_q,
                             queries.gates.data() + i * kIndexer.n_heads, kIndexer.n_heads,
                             kIndexer.dim, packed.data() + i * bytes);
      rows[i] = packed.data() + i * bytes;
    }
    std::vector<float> found(n_queries * n_keys);
    std::vector<float> reach(n_keys);
    const KeyRange keys = {cache(CacheFormat::kFp8).keys.base, data_.pages.data(), n_keys};
    const auto run = [&] {
      for_each_key_range(context_, kIndexer, rows.data(), n_queries, keys, found.data(), n_keys,
                         [&](const kernels::IndexScoresArgs& args) {
                           kernels.estimate->estimates(args, reach.data() + args.first);
                         });
    };
    run();
    std::vector<float> exact(n_keys);
    score_keys(context_, kIndexer, queries.rows.data(), 1, keys.base, keys.pages, n_keys,
               exact.data(), n_keys);
    Work work;
    work.kernel = "indexer estimates int8";
    work.shape = fmt::format("{} x {} keys, 64 heads x 128", n_queries, n_keys);
    work.flops = 2.0 * static_cast<double>(n_queries * n_keys * n_q);
    work.dot = context_.kernels->peak->int8_dot;
    work.bytes = static_cast<double>(n_keys * kIndexer.layout.entry_bytes());
    work.bandwidth = limits_.read_bytes;
    work.int8 = true;
    DSA_ASSIGN_OR_RETURN(work.recall, recall(exact, found.data()));
    return report(work, run);
  }

  Result<double> recall(const std::vector<float>& exact, const float* estimates) const {
    const kernels::IndexerKernels& kernels = *context_.kernels->indexer;
    DSA_ASSIGN_OR_RETURN(
        const AlignedBuffer scratch,
        AlignedBuffer::allocate(kernels.top_k_scratch_bytes(exact.size(), kTopK), "selection"));
    std::vector<int32_t> want(kTopK);
    std::vector<int32_t> got(kTopK);
    kernels.top_k(exact.data(), exact.size(), kTopK, want.data(), scratch.data());
    kernels.top_k(estimates, exact.size(), kTopK, got.data(), scratch.data());
    std::vector<int32_t> both;
    std::set_intersection(want.begin(), want.end(), got.begin(), got.end(),
                          std::back_inserter(both));
    return static_cast<double>(both.size()) / static_cast<double>(kTopK);
  }

  Status top_k() {
    const kernels::IndexerKernels& kernels = *context_.kernels->indexer;
    DSA_ASSIGN_OR_RETURN(
        const AlignedBuffer scratch,
        AlignedBuffer::allocate(kernels.top_k_scratch_bytes(kContext, kTopK), "selection"));
    std::vector<int32_t> out(kTopK);
    Work work;
    work.kernel = "top-k";
    work.shape = "2048 of 131072, one thread";
    work.bytes = kContext * sizeof(float);
    work.bandwidth = limits_.read_bytes / limits_.n_threads;
    size_t call = 0;
    return report(work, [&] {
      const float* scores = data_.values.data() + (call++ % kLists) * kContext;
      kernels.top_k(scores, kContext, kTopK, out.data(), scratch.data());
    });
  }

  Status attend(CacheFormat format, size_t n_heads, size_t n_rows) {
    LatentLayout layout = kLatent;
    layout.format = format;
    const size_t d_row = layout.d_latent + layout.d_rope;
    const size_t bytes = attend_scratch_bytes(context_, layout, n_heads);
    float* parts = nullptr;
    float* part_lse = nullptr;
    uint8_t* scratch = nullptr;
    float* out = nullptr;
    float* lse = nullptr;
    ScratchPlan plan;
    plan.add(&parts, kMaxAttentionParts * n_heads * layout.d_latent);
    plan.add(&part_lse, kMaxAttentionParts * n_heads);
    plan.add(&scratch, bytes * static_cast<size_t>(context_.pool->n_threads()));
    plan.add(&out, n_heads * layout.d_latent);
    plan.add(&lse, n_heads);
    DSA_ASSIGN_OR_RETURN(const AlignedBuffer memory, plan.allocate("attention"));
    const auto count = static_cast<int32_t>(n_rows);
    RowAttention args;
    args.layout = layout;
    args.base = cache(format).latents.base;
    args.counts = &count;
    args.q = data_.values.data();
    args.n_queries = 1;
    args.n_heads = n_heads;
    args.scale = 0.02F;
    args.out = out;
    args.lse = lse;
    Work work;
    const bool dense = n_rows > kTopK;
    work.kernel =
        std::string(dense ? "dense attention " : "sparse attention ") + cache_format_name(format);
    work.shape = fmt::format("{} rows, {} heads x 576/512", n_rows, n_heads);
    work.flops = 2.0 * static_cast<double>(n_heads * n_rows * (d_row + layout.d_latent));
    work.dot = dot_loop(format);
    work.bytes = static_cast<double>(n_rows * layout.row_bytes());
    work.bandwidth = dense ? limits_.read_bytes : limits_.gather_bytes;
    size_t call = 0;
    return report(work, [&] {
      args.rows = dense ? data_.all_rows.data() : data_.lists.data() + (call++ % kLists) * kTopK;
      attend_rows(context_, args, parts, part_lse, scratch, bytes);
    });
  }

  Status product(const Weight& weight, size_t m) {
    float* a = nullptr;
    uint16_t* a_bf16 = nullptr;
    float* c = nullptr;
    ScratchPlan plan;
    plan.add(&a, m * weight.cols);
    plan.add(&a_bf16, m * weight.cols);
    plan.add(&c, m * weight.rows);
    DSA_ASSIGN_OR_RETURN(const AlignedBuffer memory, plan.allocate("product"));
    std::copy_n(data_.values.data(), std::min(m * weight.cols, data_.values.size()), a);
    context_.vector().f32_to_bf16(a, m * weight.cols, a_bf16);
    Work work;
    work.kernel = std::string(m == 1 ? "matrix x vector " : "matrix x matrix ") +
                  (weight.dtype == DType::kBF16 ? "bf16" : "fp8");
    work.shape = fmt::format("{} x {} by {} x {}", m, weight.cols, weight.cols, weight.rows);
    work.flops = 2.0 * static_cast<double>(m * weight.rows * weight.cols);
    work.dot = dot_loop(CacheFormat::kBF16);
    if (m == 1) work.streamed = weight.data;
    work.bytes = static_cast<double>(weight.bytes());
    work.bandwidth = limits_.read_bytes;
    return report(work, [&] {
      linear(context_, {a, a_bf16, weight.cols}, m, weight, c, weight.rows);
    });
  }

  const Data& data_;
  const OpContext context_;
  const MachineLimits limits_;
  const KernelBenchOptions& options_;
  const std::function<bool(const KernelMeasure&)>& done_;
  bool stopped_ = false;
  int64_t n_measured_ = 0;
};

}  // namespace

Status bench_kernels(const KernelBenchOptions& options,
                     const std::function<bool(const KernelMeasure&)>& done) {
  ThreadPool all(0);
  Data data;
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* chosen, select_kernels());
  DSA_RETURN_IF_ERROR(make_caches({chosen, &all}, &data));
  make_lists(&data);
  DSA_ASSIGN_OR_RETURN(data.weights[0], make_weight(data.bf16, DType::kBF16));
  DSA_ASSIGN_OR_RETURN(data.weights[1], make_weight(data.fp8, DType::kE4M3));
  bool known = false;
  int64_t n_measured = 0;
  const std::span<const kernels::Tier> tiers = kernels::tiers();
  for (auto tier = tiers.rbegin(); tier != tiers.rend(); ++tier) {
    const kernels::KernelTable* table = tier->table;
    if (!tier->runs_here || (!options.tier.empty() && options.tier != table->tier_name)) continue;
    known = true;
    for (const int n_threads : options.threads) {
      ThreadPool pool(n_threads);
      DSA_ASSIGN_OR_RETURN(MachineLimits limits, measure_machine(*table, &pool));
      Cases cases(data, {table, &pool}, std::move(limits), options, done);
      DSA_RETURN_IF_ERROR(cases.run());
      n_measured += cases.n_measured();
    }
  }
  if (!known) {
    return error(StatusCode::kUnsupported, "tier \"{}\": this CPU does not run it", options.tier);
  }
  if (n_measured > 0) return {};
  return error(StatusCode::kNotFound, "only \"{}\": no kernel has that in its name", options.only);
}

}  // namespace dsa
