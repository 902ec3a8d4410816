// Attention over 2048 cached rows by one thread at the shapes of DeepSeek-V3.2 and GLM-5, against
// the core's multiply-add peak measured in the same run.
//
//   flops   2 * heads * rows * (d_latent + d_rope + d_latent) per query   of_flops   of the peak
//   rows    gathered and converted per second
//
// Every call attends to other rows of a table larger than the caches, in ascending order as the
// selection yields them. DSA_CPU_TIER chooses the tier.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "dsa/thread_pool.h"

#include "formats/cache_layout.h"
#include "kernels/tiers.h"
#include "measure/machine.h"
#include "ops/row_union.h"

namespace {

using dsa::CacheFormat;
using dsa::LatentLayout;

constexpr std::size_t kTableRows = 65536;
constexpr std::size_t kRows = 2048;
constexpr std::size_t kLists = 16;

struct Context {
  const dsa::kernels::KernelTable* table;
  dsa::MachineLimits peak;
};

struct Case {
  CacheFormat format;
  std::size_t n_heads;
  std::size_t n_queries;
};

// Bytes 0x38 and 0x3C make ordinary values in every format; fp8 rows get a scale of 1/8.
dsa::AlignedBuffer make_table(const LatentLayout& layout) {
  dsa::AlignedBuffer table =
      std::move(dsa::AlignedBuffer::allocate(kTableRows * layout.row_bytes(), "table").value());
  for (std::size_t i = 0; i < table.size(); ++i)
    table.data()[i] = i % 3 == 0 ? 0x38 : 0x3C;
  const std::vector<float> scales(layout.n_scales(), 0.125F);
  for (std::size_t r = 0; layout.format == CacheFormat::kFp8 && r < kTableRows; ++r) {
    std::memcpy(table.data() + r * layout.row_bytes() + layout.scale_offset(), scales.data(),
                scales.size() * sizeof(float));
  }
  return table;
}

std::vector<std::int32_t> make_lists() {
  std::vector<std::int32_t> rows(kTableRows);
  std::iota(rows.begin(), rows.end(), 0);
  std::shuffle(rows.begin(), rows.end(), std::mt19937(1));
  rows.resize(kLists * kRows);
  for (std::size_t i = 0; i < rows.size(); i += kRows) {
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(i);
    std::sort(first, first + static_cast<std::ptrdiff_t>(kRows));
  }
  return rows;
}

void attend(benchmark::State& state, const Context& context, const Case& c) {
  const dsa::kernels::AttentionKernels& kernels = *context.table->attention;
  const LatentLayout layout = {c.format, 512, 64};
  const std::size_t d = layout.d_latent + layout.d_rope;
  const dsa::AlignedBuffer table = make_table(layout);
  const std::vector<std::int32_t> lists = make_lists();
  const std::vector<float> q(c.n_queries * c.n_heads * d, 0.01F);
  std::vector<float> out(c.n_queries * c.n_heads * layout.d_latent);
  std::vector<float> lse(c.n_queries * c.n_heads);
  const dsa::AlignedBuffer scratch = std::move(
      dsa::AlignedBuffer::allocate(kernels.attend_scratch_bytes(layout, c.n_heads), "scratch")
          .value());
  dsa::kernels::AttendArgs args = {.layout = layout,
                                   .base = table.data(),
                                   .n_rows = kRows,
                                   .q = q.data(),
                                   .q_stride = c.n_heads * d,
                                   .n_queries = c.n_queries,
                                   .n_heads = c.n_heads,
                                   .scale = 0.1352338F,
                                   .out = out.data(),
                                   .out_stride = c.n_heads * layout.d_latent,
                                   .lse = lse.data(),
                                   .lse_stride = c.n_heads,
                                   .scratch = scratch.data()};
  std::size_t list = 0;
  for (auto _ : state) {
    args.rows = lists.data() + list++ % kLists * kRows;
    kernels.attend(args);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  const double rows = static_cast<double>(kRows) * static_cast<double>(state.iterations());
  const double flops =
      2.0 * static_cast<double>(c.n_queries * c.n_heads * (d + layout.d_latent)) * rows;
  const double peak =
      c.format == CacheFormat::kF32 ? context.peak.f32_flops : context.peak.bf16_flops;
  using benchmark::Counter;
  state.counters["rows"] = Counter(rows, Counter::kIsRate);
  state.counters["flops"] = Counter(flops, Counter::kIsRate);
  state.counters["of_flops"] = Counter(flops / peak, Counter::kIsRate);
}

// Lists of neighbouring queries: each keeps a share of the rows of the one before and draws the
// others anew. [n_queries][kRows], ascending
std::vector<std::int32_t> make_neighbours(std::size_t n_queries, double overlap) {
  std::mt19937 random(2);
  std::vector<std::int32_t> all(kTableRows);
  std::iota(all.begin(), all.end(), 0);
  std::shuffle(all.begin(), all.end(), random);
  std::vector<std::int32_t> lists;
  const auto n_new = static_cast<std::size_t>((1 - overlap) * kRows);
  for (std::size_t i = 0; i < n_queries; ++i) {
    // all[0, kRows) is the list; rows that leave it go to the end.
    std::shuffle(all.begin(), all.begin() + kRows, random);
    if (i > 0)
      std::rotate(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n_new), all.end());
    lists.insert(lists.end(), all.begin(), all.begin() + kRows);
    std::sort(lists.end() - static_cast<std::ptrdiff_t>(kRows), lists.end());
  }
  return lists;
}

struct Neighbours {
  std::size_t n_heads;
  std::size_t n_queries;
  double overlap;
  bool together;  // as one block over the union of the lists, else one by one
};

void attend_neighbours(benchmark::State& state, const Context& context, const Neighbours& c) {
  const dsa::kernels::AttentionKernels& kernels = *context.table->attention;
  const LatentLayout layout = {CacheFormat::kFp8, 512, 64};
  const std::size_t d = layout.d_latent + layout.d_rope;
  const dsa::AlignedBuffer table = make_table(layout);
  constexpr std::size_t kTiles = 8;
  const std::vector<std::int32_t> lists = make_neighbours(kTiles * c.n_queries, c.overlap);
  const std::vector<std::int32_t> counts(c.n_queries, kRows);
  const std::vector<float> q(c.n_queries * c.n_heads * d, 0.01F);
  std::vector<float> out(c.n_queries * c.n_heads * layout.d_latent);
  std::vector<float> lse(c.n_queries * c.n_heads);
  const dsa::AlignedBuffer scratch = std::move(
      dsa::AlignedBuffer::allocate(kernels.attend_scratch_bytes(layout, c.n_heads), "scratch")
          .value());
  dsa::RowUnion rows;
  dsa::ScratchPlan plan;
  rows.plan(kRows, kTableRows, &plan);
  const dsa::Result<dsa::AlignedBuffer> buffer = plan.allocate("union");
  dsa::kernels::AttendArgs args = {.layout = layout,
                                   .base = table.data(),
                                   .q_stride = c.n_heads * d,
                                   .n_heads = c.n_heads,
                                   .scale = 0.1352338F,
                                   .out_stride = c.n_heads * layout.d_latent,
                                   .lse_stride = c.n_heads,
                                   .scratch = scratch.data()};
  std::size_t tile = 0;
  for (auto _ : state) {
    const std::int32_t* list = lists.data() + tile++ % kTiles * c.n_queries * kRows;
    args.q = q.data();
    args.out = out.data();
    args.lse = lse.data();
    if (c.together) {
      rows.build(list, kRows, counts.data(), c.n_queries);
      args.rows = rows.positions;
      args.n_rows = rows.n_positions;
      args.n_queries = c.n_queries;
      args.visible = rows.visible;
      args.visible_stride = rows.words;
      kernels.attend(args);
    }
    for (std::size_t i = 0; !c.together && i < c.n_queries; ++i) {
      args.rows = list + i * kRows;
      args.n_rows = kRows;
      kernels.attend(args);
      args.q += args.q_stride;
      args.out += args.out_stride;
      args.lse += args.lse_stride;
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  const double queries = static_cast<double>(c.n_queries) * static_cast<double>(state.iterations());
  const double flops =
      2.0 * static_cast<double>(c.n_heads * (d + layout.d_latent) * kRows) * queries;
  using benchmark::Counter;
  state.counters["queries"] = Counter(queries, Counter::kIsRate);
  state.counters["of_flops"] = Counter(flops / context.peak.bf16_flops, Counter::kIsRate);
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
  for (const CacheFormat format : {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32}) {
    for (const Case c :
         {Case{format, 128, 1}, Case{format, 64, 1}, Case{format, 16, 1}, Case{format, 16, 8}}) {
      const std::string name = std::string("attend/") + dsa::cache_format_name(format) + "/heads" +
                               std::to_string(c.n_heads) + "/queries" + std::to_string(c.n_queries);
      benchmark::RegisterBenchmark(name.c_str(), attend, context, c)->Unit(benchmark::kMicrosecond);
    }
  }
  for (const std::size_t n_heads : {16UL, 64UL}) {
    for (const double overlap : {0.0, 0.8}) {
      for (const std::size_t n_queries : {128 / n_heads, 256 / n_heads}) {
        if (n_queries > dsa::RowUnion::kMaxQueries) continue;
        for (const bool together : {false, true}) {
          const std::string name = "neighbours/heads" + std::to_string(n_heads) + "/queries" +
                                   std::to_string(n_queries) + "/overlap" +
                                   std::to_string(overlap).substr(0, 3) +
                                   (together ? "/together" : "/one_by_one");
          benchmark::RegisterBenchmark(name.c_str(), attend_neighbours, context,
                                       Neighbours{n_heads, n_queries, overlap, together})
              ->Unit(benchmark::kMicrosecond);
        }
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
