// Indexer and selection of one decode step or of a block of queries, with and without pruning.
//
//   keys       scored per second, for every query
//   of_exact   share of the keys that were scored exactly (pruned cases)
//   recall     of the best k by the scores, those among the best k by the int8 estimates alone
//
// 64 heads of 128, k = 2,048, random keys and queries in scattered pages. For a ratio of the two
// run with --benchmark_enable_random_interleaving. DSA_CPU_TIER chooses the tier.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "dsa/thread_pool.h"

#include "kernels/tiers.h"
#include "ops/indexer.h"
#include "ops/indexer_prune.h"

namespace {

constexpr std::size_t kTopK = 2048;
constexpr dsa::IndexerDims kDims = {64, 128, {dsa::CacheFormat::kFp8, 128}};

struct Case {
  std::size_t n_keys;
  std::size_t n_queries;
  int n_threads;
  bool pruned;
};

std::vector<float> random_values(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

class Layer {
 public:
  Layer(const dsa::kernels::KernelTable* table, const Case& c)
      : case_(c), pool_(c.n_threads), context_{table, &pool_} {
    const std::size_t n_pages = c.n_keys / dsa::kPageTokens;
    pages_.resize(n_pages);
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), std::mt19937(1));
    keys_.resize(n_pages * kDims.layout.page_bytes());
    const std::vector<float> key = random_values(c.n_keys * kDims.dim, 2);
    for (std::size_t t = 0; t < c.n_keys; ++t) {
      store_index_key(context_.vector(), kDims.layout, key.data() + t * kDims.dim,
                      t % dsa::kPageTokens, view().page_address(t));
    }
    q_ = random_values(c.n_queries * kDims.n_heads * kDims.dim, 3);
    weights_ = random_values(c.n_queries * kDims.n_heads, 4);
    dsa::ScratchPlan plan;
    scratch_.plan(context_, kDims, c.n_queries, c.n_keys, kTopK, &plan);
    memory_ = plan.allocate("scratch").value();
    if (!c.pruned) scratch_.estimate_bytes = 0;
    positions_.resize(c.n_queries * kTopK);
    counts_.resize(c.n_queries);
  }

  void select() {
    std::vector<float> q = q_;
    std::vector<float> weights = weights_;
    const dsa::IndexerQueries queries = {q.data(), weights.data(), case_.n_queries,
                                         case_.n_keys - case_.n_queries};
    index_and_select(context_, kDims, queries, view(), {kTopK, 0, 0}, &scratch_,
                     {positions_.data(), counts_.data(), kTopK}, nullptr);
  }

  // After select(), of its first query.
  double share_scored() const {
    return static_cast<double>(scratch_.n_candidates[0]) / static_cast<double>(case_.n_keys);
  }
  double recall() {
    const std::size_t n = case_.n_keys - case_.n_queries + 1;
    std::vector<float> estimates(n);
    std::vector<float> reach(n);
    const void* query = scratch_.packed_estimates;
    dsa::kernels::IndexScoresArgs args;
    args.queries = &query;
    args.n_queries = 1;
    args.n_heads = kDims.n_heads;
    args.layout = kDims.layout;
    args.base = keys_.data();
    args.page_stride = kDims.layout.page_bytes();
    args.pages = pages_.data();
    args.last = n;
    args.out = estimates.data();
    args.ld_out = n;
    context_.kernels->indexer->estimate->estimates(args, reach.data());
    std::vector<std::int32_t> best(kTopK);
    context_.kernels->indexer->top_k(estimates.data(), n, kTopK, best.data(), scratch_.top_k);
    std::vector<std::int32_t> both;
    std::set_intersection(best.begin(), best.end(), positions_.begin(), positions_.begin() + kTopK,
                          std::back_inserter(both));
    return static_cast<double>(both.size()) / kTopK;
  }

 private:
  dsa::IndexCacheView view() { return {kDims.layout, keys_.data(), pages_}; }

  Case case_;
  dsa::ThreadPool pool_;
  dsa::OpContext context_;
  std::vector<std::int32_t> pages_;
  std::vector<std::uint8_t> keys_;
  std::vector<float> q_;
  std::vector<float> weights_;
  dsa::IndexerScratch scratch_;
  dsa::AlignedBuffer memory_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> counts_;
};

void select(benchmark::State& state, const dsa::kernels::KernelTable* table, const Case& c) {
  Layer layer(table, c);
  for (auto _ : state) {
    layer.select();
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  const double keys = static_cast<double>(c.n_keys * c.n_queries);
  state.counters["keys"] =
      Counter(keys * static_cast<double>(state.iterations()), Counter::kIsRate);
  if (!c.pruned) return;
  state.counters["of_exact"] = Counter(layer.share_scored());
  state.counters["recall"] = Counter(layer.recall());
}

void register_case(const dsa::kernels::KernelTable* table, const Case& c) {
  const std::string name = std::string(c.pruned ? "pruned" : "exact") + "/keys" +
                           std::to_string(c.n_keys) + "/queries" + std::to_string(c.n_queries) +
                           "/threads" + std::to_string(c.n_threads);
  benchmark::RegisterBenchmark(name.c_str(), select, table, c)
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  const dsa::kernels::KernelTable* table = dsa::kernels::chosen_table();
  if (table == nullptr) return 1;
  benchmark::AddCustomContext("tier", table->tier_name);
  for (const std::size_t n_keys : {32768UL, 131072UL}) {
    for (const std::size_t n_queries : {1UL, 16UL}) {
      for (const int n_threads : {1, 2}) {
        register_case(table, {n_keys, n_queries, n_threads, false});
        if (table->indexer->estimate == nullptr) continue;
        register_case(table, {n_keys, n_queries, n_threads, true});
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
