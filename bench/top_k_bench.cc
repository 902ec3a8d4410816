// Selection of the best k of n scores by one thread, compared with std::nth_element on the same
// data.
//
//   scores   looked at per second
//
// DSA_CPU_TIER chooses the tier.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/tiers.h"

namespace {

using Random = std::mt19937;

struct Distribution {
  const char* name;
  std::function<float(std::size_t i, Random& random)> value;
};

std::vector<Distribution> distributions() {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  return {
      {"normal", [](std::size_t, Random& r) { return std::normal_distribution<float>()(r); }},
      {"normal in steps of 1/8",
       [](std::size_t, Random& r) { return std::floor(8 * std::normal_distribution<float>()(r)); }},
      {"mostly zero",
       [](std::size_t, Random& r) { return r() % 128 == 0 ? static_cast<float>(r()) : 0.0F; }},
      {"ascending", [](std::size_t i, Random&) { return static_cast<float>(i); }},
      {"all equal", [](std::size_t, Random&) { return 1.0F; }},
      {"half NaN",
       [=](std::size_t i, Random& r) { return i % 2 == 0 ? kNan : static_cast<float>(r()); }},
  };
}

std::vector<float> draw(const Distribution& distribution, std::size_t n) {
  Random random(1);
  std::vector<float> scores(n);
  for (std::size_t i = 0; i < n; ++i)
    scores[i] = distribution.value(i, random);
  return scores;
}

void count_scores(benchmark::State& state, std::size_t n) {
  using benchmark::Counter;
  state.counters["scores"] =
      Counter(static_cast<double>(n) * static_cast<double>(state.iterations()), Counter::kIsRate);
}

void select(benchmark::State& state,
            const dsa::kernels::IndexerKernels* indexer,
            const std::vector<float>& scores,
            std::size_t k) {
  const std::size_t bytes = indexer->top_k_scratch_bytes(scores.size(), k);
  const std::unique_ptr<void, decltype(&std::free)> scratch(
      std::aligned_alloc(64, (bytes + 64) / 64 * 64), &std::free);
  std::vector<std::int32_t> out(k);
  for (auto _ : state) {
    indexer->top_k(scores.data(), scores.size(), k, out.data(), scratch.get());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  count_scores(state, scores.size());
}

void nth_element(benchmark::State& state, const std::vector<float>& scores, std::size_t k) {
  std::vector<std::int32_t> order(scores.size());
  const auto better = [&](std::int32_t a, std::int32_t b) {
    const float x = scores[static_cast<std::size_t>(a)];
    const float y = scores[static_cast<std::size_t>(b)];
    return x > y || (x == y && a > b);
  };
  for (auto _ : state) {
    std::iota(order.begin(), order.end(), 0);
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                     better);
    benchmark::DoNotOptimize(order.data());
    benchmark::ClobberMemory();
  }
  count_scores(state, scores.size());
}

void register_case(const dsa::kernels::IndexerKernels* indexer, std::size_t n, std::size_t k) {
  const std::string size = std::to_string(k) + "of" + std::to_string(n) + "/";
  for (const Distribution& distribution : distributions()) {
    const std::string name = size + distribution.name;
    benchmark::RegisterBenchmark(("top_k/" + name).c_str(), select, indexer, draw(distribution, n),
                                 k)
        ->Unit(benchmark::kMicrosecond);
  }
  const std::vector<float> ordinary = draw(distributions().front(), n);
  benchmark::RegisterBenchmark(("nth_element/" + size + "normal").c_str(), nth_element, ordinary, k)
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
  const dsa::kernels::KernelTable* table = dsa::kernels::chosen_table();
  if (table == nullptr) return 1;
  benchmark::AddCustomContext("tier", table->tier_name);
  for (const std::size_t n : {8192UL, 131072UL})
    register_case(table->indexer, n, 2048);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
