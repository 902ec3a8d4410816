// One decode step of one layer's attention at DeepSeek-V3.2's shape, fp8 caches, through the public
// operations: dense over every cached row, and DSA (indexer scores, selection, attention over 2,048
// rows). Projections are left out: they do not depend on the context.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "dsa/attention.h"

namespace {

constexpr int64_t kHeads = 128;
constexpr int64_t kLatent = 512;
constexpr int64_t kRope = 64;
constexpr int64_t kIndexHeads = 64;
constexpr int64_t kIndexDim = 128;
constexpr int64_t kTopK = 2048;
constexpr float kScale = 0.1352338F;
constexpr dsa::CacheFormat kFormat = dsa::CacheFormat::kFp8;

std::vector<float> normal_values(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

// Random caches of `context` tokens and one query.
class Layer {
 public:
  explicit Layer(int64_t context)
      : context_(context),
        pages_(static_cast<size_t>(context / dsa::kTokensPerPage)),
        q_(normal_values(kHeads * (kLatent + kRope), 1)),
        index_q_(normal_values(kIndexHeads * kIndexDim, 2)),
        index_weights_(normal_values(kIndexHeads, 3)),
        scores_(static_cast<size_t>(context)),
        selected_(static_cast<size_t>(kTopK)),
        all_rows_(static_cast<size_t>(context)),
        out_(static_cast<size_t>(kHeads * kLatent)) {
    const auto row_bytes = static_cast<size_t>(dsa::latent_row_bytes(kFormat, kLatent, kRope));
    const auto page_bytes = static_cast<size_t>(dsa::index_page_bytes(kFormat, kIndexDim));
    latents_.resize(row_bytes * static_cast<size_t>(context));
    keys_.resize(page_bytes * pages_.size());
    std::iota(pages_.begin(), pages_.end(), 0);
    std::iota(all_rows_.begin(), all_rows_.end(), 0);
    const std::vector<float> values = normal_values(kLatent + kRope + kIndexDim + context, 4);
    for (int64_t t = 0; t < context; ++t) {  // row t: a window of the random values
      const auto row = std::span(values).subspan(static_cast<size_t>(t));
      check(dsa::write_latent_row(
          kFormat, row.first(kLatent), row.subspan(kLatent, kRope),
          std::span(latents_).subspan(static_cast<size_t>(t) * row_bytes, row_bytes)));
      check(dsa::write_index_key(
          kFormat, row.subspan(kLatent + kRope, kIndexDim), t % dsa::kTokensPerPage,
          std::span(keys_).subspan(static_cast<size_t>(t / dsa::kTokensPerPage) * page_bytes,
                                   page_bytes)));
    }
  }

  void dense(dsa::ThreadPool& pool) { attend(all_rows_, pool); }

  void sparse(dsa::ThreadPool& pool) {
    const dsa::IndexScores scores = {kFormat,   index_q_, index_weights_, 1,        kIndexHeads,
                                     kIndexDim, keys_,    pages_,         context_, scores_};
    check(dsa::index_scores(scores, pool));
    check(dsa::select_top_k(scores_, kTopK, selected_).status());
    attend(selected_, pool);
  }

 private:
  static void check(const dsa::Status& status) {
    if (!status.ok()) std::abort();
  }

  void attend(std::span<const int32_t> rows, dsa::ThreadPool& pool) {
    const dsa::SparseAttention attention = {
        kFormat, kLatent, kRope,  latents_, rows, static_cast<int64_t>(rows.size()),
        q_,      1,       kHeads, kScale,   out_, {}};
    check(dsa::sparse_attention(attention, pool));
  }

  int64_t context_;
  std::vector<uint8_t> latents_;
  std::vector<uint8_t> keys_;
  std::vector<int32_t> pages_;
  std::vector<float> q_;
  std::vector<float> index_q_;
  std::vector<float> index_weights_;
  std::vector<float> scores_;
  std::vector<int32_t> selected_;
  std::vector<int32_t> all_rows_;
  std::vector<float> out_;
};

void dense_decode(benchmark::State& state) {
  dsa::ThreadPool pool(static_cast<int>(state.range(1)));
  Layer layer(state.range(0));
  for (auto _ : state)
    layer.dense(pool);
}

void dsa_decode(benchmark::State& state) {
  dsa::ThreadPool pool(static_cast<int>(state.range(1)));
  Layer layer(state.range(0));
  for (auto _ : state)
    layer.sparse(pool);
}

void contexts(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"context", "threads"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int64_t context : {4096, 16384, 65536, 131072})
    bench->Args({context, 2});
}

BENCHMARK(dense_decode)->Apply(contexts);
BENCHMARK(dsa_decode)->Apply(contexts);

}  // namespace

BENCHMARK_MAIN();
