// Indexer scores of one thread, against the core's multiply-add peak measured in the same run.
//
//   flops   2 * heads * dim per key and query     of_flops   share of the peak (estimates: of
//   int8's) keys    scored per second, for every query
//
// Keys lie in scattered pages of a pool larger than the caches. DSA_CPU_TIER chooses the tier.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "dsa/thread_pool.h"

#include "formats/cache_layout.h"
#include "kernels/tiers.h"
#include "measure/machine.h"

namespace {

using dsa::CacheFormat;
using dsa::kernels::IndexerKernels;

constexpr std::size_t kKeys = 131072;
constexpr std::size_t kDim = 128;

struct Context {
  const dsa::kernels::KernelTable* table;
  dsa::MachineLimits peak;
};

struct Case {
  CacheFormat format;
  std::size_t n_heads;
  std::size_t n_queries;
  bool estimate;
};

using Packed = std::unique_ptr<void, decltype(&std::free)>;

Packed pack(const IndexerKernels& indexer, const Case& c) {
  const std::vector<float> q(c.n_heads * kDim, 0.5F);
  const std::vector<float> weights(c.n_heads, 0.25F);
  const std::size_t bytes = c.estimate ? indexer.estimate->packed_bytes(c.n_heads, kDim)
                                       : indexer.packed_query_bytes(c.format, c.n_heads, kDim);
  Packed packed(std::aligned_alloc(64, bytes), &std::free);
  if (c.estimate) {
    indexer.estimate->pack(q.data(), weights.data(), c.n_heads, kDim, packed.get());
  } else {
    indexer.pack_query(c.format, q.data(), weights.data(), c.n_heads, kDim, packed.get());
  }
  return packed;
}

double peak_of(const dsa::MachineLimits& peak, const Case& c) {
  if (c.estimate) return peak.int8_ops;
  return c.format == CacheFormat::kF32 ? peak.f32_flops : peak.bf16_flops;
}

void score(benchmark::State& state, const Context& context, const Case& c) {
  const IndexerKernels& indexer = *context.table->indexer;
  const dsa::IndexKeyLayout layout = {c.format, kDim};
  const std::size_t n_pages = kKeys / dsa::kPageTokens;
  const std::vector<std::uint8_t> pool(n_pages * layout.page_bytes(), 0x38);
  std::vector<std::int32_t> pages(n_pages);
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), std::mt19937(1));
  std::vector<Packed> packed;
  std::vector<const void*> queries;
  for (std::size_t i = 0; i < c.n_queries; ++i) {
    packed.push_back(pack(indexer, c));
    queries.push_back(packed.back().get());
  }
  const std::size_t n_keys = kKeys / c.n_queries;
  std::vector<float> out(c.n_queries * n_keys);
  std::vector<float> reach(n_keys);
  const dsa::kernels::IndexScoresArgs args = {.queries = queries.data(),
                                              .n_queries = c.n_queries,
                                              .n_heads = c.n_heads,
                                              .layout = layout,
                                              .base = pool.data(),
                                              .page_stride = layout.page_bytes(),
                                              .pages = pages.data(),
                                              .first = 0,
                                              .last = n_keys,
                                              .out = out.data(),
                                              .ld_out = n_keys};
  for (auto _ : state) {
    if (c.estimate) {
      indexer.estimate->estimates(args, reach.data());
    } else {
      indexer.scores(args);
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  const double scores = static_cast<double>(out.size()) * static_cast<double>(state.iterations());
  const double flops = 2.0 * static_cast<double>(c.n_heads * kDim) * scores;
  using benchmark::Counter;
  state.counters["keys"] = Counter(scores, Counter::kIsRate);
  state.counters["flops"] = Counter(flops, Counter::kIsRate);
  state.counters["of_flops"] = Counter(flops / peak_of(context.peak, c), Counter::kIsRate);
}

void register_cases(const Context& context, const char* kind, CacheFormat format, bool estimate) {
  for (const std::size_t n_heads : {64UL, 32UL, 8UL}) {
    for (const std::size_t n_queries : {1UL, 16UL}) {
      const std::string name = std::string(kind) + "/" + dsa::cache_format_name(format) + "/heads" +
                               std::to_string(n_heads) + "/queries" + std::to_string(n_queries);
      const Case c = {format, n_heads, n_queries, estimate};
      benchmark::RegisterBenchmark(name.c_str(), score, context, c)->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const dsa::kernels::KernelTable* table = dsa::kernels::chosen_table();
  if (table == nullptr) return 1;
  dsa::ThreadPool pool(1);
  const auto peak = dsa::measure_machine(*table, &pool);
  if (!peak.ok()) return 1;
  const Context context = {table, *peak};
  benchmark::AddCustomContext("tier", table->tier_name);
  for (const CacheFormat format : {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32})
    register_cases(context, "scores", format, false);
  if (table->indexer->estimate != nullptr) {
    register_cases(context, "estimates", CacheFormat::kFp8, true);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
