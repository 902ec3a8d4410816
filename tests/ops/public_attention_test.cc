// The public operations on the caller's own memory: their checks, and their results against
// loops in float64.
#include <gmock/gmock.h>

#include <cmath>
#include <numeric>
#include <random>

#include "dsa/attention.h"

#include "reference/attention.h"
#include "reference/indexer.h"
#include "reference/top_k.h"

namespace dsa {
namespace {

using testing::HasSubstr;

class Formats : public testing::TestWithParam<CacheFormat> {};

std::vector<float> normal_values(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values)
    value = normal(random);
  return values;
}

// f32: sums of some hundred products. The others: the query (and the weights p) are rounded, to
// 8 significant bits in bf16 and to 4 in e4m3.
double relative_error(CacheFormat format, bool scores) {
  if (format == CacheFormat::kF32) return 1e-4;
  return format == CacheFormat::kFp8 && scores ? 0x1p-4 : 0x1p-7;
}

TEST_P(Formats, ScoresAgreeWithTheDefinitionForAnyNumberOfThreads) {
  const CacheFormat format = GetParam();
  constexpr int64_t kDim = 64;
  constexpr int64_t kHeads = 6;
  constexpr int64_t kQueries = 3;
  constexpr int64_t kKeys = 5000;
  const int64_t n_pages = (kKeys + 63) / 64;
  const auto page_bytes = static_cast<size_t>(index_page_bytes(format, kDim));
  std::vector<uint8_t> pool(page_bytes * static_cast<size_t>(n_pages));
  std::vector<int32_t> pages(static_cast<size_t>(n_pages));
  std::iota(pages.rbegin(), pages.rend(), 0);
  const std::vector<float> keys = normal_values(kKeys * kDim, 1);
  for (int64_t t = 0; t < kKeys; ++t) {
    const auto page = static_cast<size_t>(pages[static_cast<size_t>(t / 64)]);
    ASSERT_TRUE(write_index_key(format,
                                std::span(keys).subspan(static_cast<size_t>(t * kDim), kDim),
                                t % 64, std::span(pool).subspan(page * page_bytes, page_bytes))
                    .ok());
  }
  const std::vector<float> q = normal_values(kQueries * kHeads * kDim, 2);
  const std::vector<float> weights = normal_values(kQueries * kHeads, 3);
  std::vector<float> out(kQueries * kKeys);
  const IndexScores args = {format, q, weights, kQueries, kHeads, kDim, pool, pages, kKeys, out};
  for (const int threads : {1, 2, 3}) {
    ThreadPool workers(threads);
    const std::vector<float> before = out;
    ASSERT_TRUE(index_scores(args, workers).ok());
    EXPECT_TRUE(threads == 1 || out == before);
  }
  const IndexKeyLayout layout = {format, kDim};
  for (size_t i = 0; i < kQueries; ++i) {
    for (size_t t = 0; t < kKeys; t += 37) {
      const uint8_t* page = pool.data() + static_cast<size_t>(pages[t / 64]) * page_bytes;
      const reference::IndexScore want =
          reference::index_score(std::span(q).subspan(i * kHeads * kDim, kHeads * kDim),
                                 std::span(weights).subspan(i * kHeads, kHeads),
                                 reference::index_key(layout, page, t % 64));
      EXPECT_LE(std::fabs(double{out[i * kKeys + t]} - want.value),
                relative_error(format, true) * want.magnitude);
    }
  }
}

TEST_P(Formats, AttentionAgreesWithTheDefinitionForAnyNumberOfThreads) {
  const CacheFormat format = GetParam();
  constexpr int64_t kLatent = 136;
  constexpr int64_t kRope = 16;
  constexpr int64_t kHeads = 70;  // two groups of heads
  constexpr int64_t kCached = 900;
  constexpr float kScale = 0.08F;
  const auto row_bytes = static_cast<size_t>(latent_row_bytes(format, kLatent, kRope));
  std::vector<uint8_t> cache(row_bytes * kCached);
  const std::vector<float> values = normal_values(kCached * (kLatent + kRope), 4);
  for (size_t r = 0; r < kCached; ++r) {
    const auto row = std::span(values).subspan(r * (kLatent + kRope), kLatent + kRope);
    ASSERT_TRUE(write_latent_row(format, row.first(kLatent), row.last(kRope),
                                 std::span(cache).subspan(r * row_bytes, row_bytes))
                    .ok());
  }
  const LatentLayout layout = {format, kLatent, kRope};
  for (const int64_t n_queries : {1, 2}) {
    constexpr int64_t kRows = 700;  // several parts
    std::vector<int32_t> rows(static_cast<size_t>(n_queries * kRows));
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = i % 5 == 4 ? -1 : static_cast<int32_t>(i * 7 % kCached);
    }
    const auto n = static_cast<size_t>(n_queries);
    const std::vector<float> q = normal_values(n * kHeads * (kLatent + kRope), 5);
    std::vector<float> out(n * kHeads * kLatent);
    std::vector<float> lse(n * kHeads);
    const SparseAttention args = {format, kLatent,   kRope,  cache,  rows, kRows,
                                  q,      n_queries, kHeads, kScale, out,  lse};
    for (const int threads : {1, 2, 3}) {
      ThreadPool workers(threads);
      const std::vector<float> before = out;
      ASSERT_TRUE(sparse_attention(args, workers).ok());
      EXPECT_TRUE(threads == 1 || out == before);
    }
    std::vector<std::vector<double>> attended;
    for (size_t j = (n - 1) * kRows; j < n * kRows; ++j) {
      if (rows[j] < 0) continue;
      attended.push_back(
          reference::latent_row(layout, cache.data() + static_cast<size_t>(rows[j]) * row_bytes));
    }
    for (const size_t head : std::initializer_list<size_t>{0, 63, 64, 69}) {
      const size_t row = (n - 1) * kHeads + head;
      const reference::HeadAttention want =
          reference::attend(std::span(q).subspan(row * (kLatent + kRope), kLatent + kRope),
                            attended, kLatent, double{kScale});
      const double tolerance = relative_error(format, false) * (1 + want.logit_magnitude);
      EXPECT_LE(std::fabs(double{lse[row]} - want.lse), tolerance);
      for (size_t d = 0; d < kLatent; ++d) {
        EXPECT_LE(std::fabs(double{out[row * kLatent + d]} - want.out[d]),
                  tolerance * want.magnitude[d]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(,
                         Formats,
                         testing::Values(CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32),
                         [](const auto& param) {
                           return std::string(cache_format_name(param.param));
                         });

TEST(SelectTopK, PrefersTheMoreRecentOfEqualsAndSaysHowMany) {
  const std::vector<float> scores = {1, 3, 3, 2, 3};
  std::vector<int32_t> out(2);
  EXPECT_EQ(select_top_k(scores, 2, out).value(), 2);
  EXPECT_THAT(out, testing::ElementsAre(2, 4));
  out.assign(5, -7);
  EXPECT_EQ(select_top_k(scores, 9, out).value(), 5);
  EXPECT_THAT(out, testing::ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(select_top_k({}, 3, out).value(), 0);
  EXPECT_THAT(select_top_k(scores, 6, std::span(out).first(2)).status().message(),
              HasSubstr("out: 2 elements, want at least 5"));
  EXPECT_THAT(select_top_k(scores, -1, out).status().message(), HasSubstr("k: -1, want"));
}

TEST(SparseAttentionChecks, NameTheArgument) {
  ThreadPool workers(1);
  std::vector<uint8_t> cache(static_cast<size_t>(latent_row_bytes(CacheFormat::kF32, 4, 2)));
  std::vector<int32_t> rows = {0};
  std::vector<float> q(6);
  std::vector<float> out(4);
  SparseAttention args = {CacheFormat::kF32, 4, 2, cache, rows, 1, q, 1, 1, 1.0F, out, {}};
  EXPECT_TRUE(sparse_attention(args, workers).ok());
  rows[0] = 1;
  EXPECT_THAT(sparse_attention(args, workers).message(), HasSubstr("rows[0]: 1, want less than 1"));
  rows[0] = 0;
  args.q = std::span(q).first(5);
  EXPECT_THAT(sparse_attention(args, workers).message(), HasSubstr("q: 5 elements, want 6"));
  args.q = q;
  args.d_latent = 3;
  EXPECT_THAT(sparse_attention(args, workers).message(), HasSubstr("d_latent: 3, want an even"));
  args.d_latent = 4;
  args.n_heads = 0;
  EXPECT_THAT(sparse_attention(args, workers).message(), HasSubstr("n_heads: 0, want"));
}

TEST(SparseAttentionChecks, AQueryWithNoValidRowGivesZeroAndNoMass) {
  ThreadPool workers(1);
  std::vector<uint8_t> cache(static_cast<size_t>(latent_row_bytes(CacheFormat::kFp8, 4, 2)));
  const std::vector<int32_t> rows = {-1, -5};
  const std::vector<float> q(6, 1.0F);
  std::vector<float> out(4, 9.0F);
  std::vector<float> lse(1, 9.0F);
  ASSERT_TRUE(
      sparse_attention({CacheFormat::kFp8, 4, 2, cache, rows, 2, q, 1, 1, 1.0F, out, lse}, workers)
          .ok());
  EXPECT_THAT(out, testing::Each(0.0F));
  EXPECT_EQ(lse[0], -std::numeric_limits<float>::infinity());
}

TEST(IndexScoresChecks, NameTheArgument) {
  ThreadPool workers(1);
  std::vector<uint8_t> pool(static_cast<size_t>(index_page_bytes(CacheFormat::kFp8, 16)));
  std::vector<int32_t> pages = {0};
  std::vector<float> q(16);
  std::vector<float> weights(1);
  std::vector<float> out(64);
  IndexScores args = {CacheFormat::kFp8, q, weights, 1, 1, 16, pool, pages, 64, out};
  EXPECT_TRUE(index_scores(args, workers).ok());
  pages[0] = 1;
  EXPECT_THAT(index_scores(args, workers).message(), HasSubstr("pages[0]: 1, want 0 to 0"));
  pages[0] = 0;
  args.n_keys = 65;
  EXPECT_THAT(index_scores(args, workers).message(), HasSubstr("out: 64 elements, want 65"));
  args.n_keys = 64;
  args.dim = 12;
  EXPECT_THAT(index_scores(args, workers).message(), HasSubstr("dim: 12, want a power of two"));
}

}  // namespace
}  // namespace dsa
