// Indexer scores and selection of dsa/ops.h for batches in paged caches.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "dsa/ops.h"

#include "formats/cache_layout.h"
#include "reference/indexer.h"
#include "tests/ops/executors.h"
#include "tests/ops/paged_batch.h"

namespace dsa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr CacheFormat kFormats[] = {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32};
constexpr int64_t kDim = 64;
constexpr int64_t kHeads = 6;
constexpr int64_t kScores = 5003;
constexpr int64_t kGap = 29;  // bytes between pages

struct Problem {
  CacheFormat format;
  // One that fills no page, an empty one, one of several work items, one in more than one tile.
  int64_t page_tokens;
  PagedBatch batch = PagedBatch({30, 0, 5000, 200}, {2, 1, 1, 70}, page_tokens);
  int64_t page_stride = 0;
  std::vector<uint8_t> pages;
  std::vector<float> q = normal_values(static_cast<size_t>(batch.n_queries() * kHeads * kDim), 2);
  std::vector<float> weights = normal_values(static_cast<size_t>(batch.n_queries() * kHeads), 3);

  Problem(CacheFormat of_format, int64_t gap, int64_t tokens = kDefaultPageTokens)
      : format(of_format), page_tokens(tokens) {
    page_stride = index_page_bytes(format, kDim, page_tokens) + gap;
    pages.assign(static_cast<size_t>(batch.n_pages * page_stride), 0xFF);
    const std::vector<int64_t> slots = batch.all_slots();
    ThreadPool pool(2);
    EXPECT_TRUE(write_index_keys(
                    {format, kDim, normal_values(slots.size() * kDim, 4), slots, cache()}, pool)
                    .ok());
  }
  MutablePagedView cache() { return {pages.data(), batch.n_pages, page_stride, 0, page_tokens}; }
  IndexScores args(std::vector<float>* out) {
    out->assign(static_cast<size_t>(batch.n_queries() * kScores), 77.0F);
    return {.format = format,
            .n_heads = kHeads,
            .dim = kDim,
            .q = q,
            .weights = weights,
            .keys = cache(),
            .batch = batch.view(),
            .n_scores = kScores,
            .out = *out};
  }
  std::vector<float> run(Executor& executor) {
    std::vector<float> out;
    Workspace workspace;
    const Status status = index_scores(args(&out), executor, workspace);
    EXPECT_TRUE(status.ok()) << status.message();
    return out;
  }
  std::vector<float> run() {
    ThreadPool pool(2);
    return run(pool);
  }
  int64_t visible(int64_t query) const {
    const size_t s = batch.sequence_of_query(query);
    return std::max<int64_t>(batch.lengths[s] - (batch.query_start[s + 1] - query - 1), 0);
  }
};

// f32: sums of some hundred products. The query is rounded to 8 significant bits in bf16 and to 4
// in e4m3.
double relative_error(CacheFormat format) {
  if (format == CacheFormat::kF32) return 1e-4;
  return format == CacheFormat::kFp8 ? 0x1p-4 : 0x1p-7;
}

TEST(IndexScores, AgreeWithTheDefinitionAndEndWhereAQuerySees) {
  for (const CacheFormat format : kFormats) {
    Problem problem(format, kGap);
    const std::vector<float> got = problem.run();
    for (int64_t i = 0; i < problem.batch.n_queries(); i += i < 4 ? 1 : 13) {
      const size_t sequence = problem.batch.sequence_of_query(i);
      const int64_t visible = problem.visible(i);
      const auto row = std::span(got).subspan(static_cast<size_t>(i * kScores), kScores);
      for (int64_t t = 0; t < visible; t += visible < 100 ? 1 : 37) {
        const uint8_t* page =
            problem.pages.data() + problem.batch.page(sequence, t) * problem.page_stride;
        const reference::IndexScore want = reference::index_score(
            std::span(problem.q).subspan(static_cast<size_t>(i * kHeads * kDim), kHeads * kDim),
            std::span(problem.weights).subspan(static_cast<size_t>(i * kHeads), kHeads),
            reference::index_key({format, kDim}, page, static_cast<size_t>(t % 64)));
        EXPECT_LE(std::fabs(double{row[static_cast<size_t>(t)]} - want.value),
                  relative_error(format) * want.magnitude);
      }
      EXPECT_THAT(row.subspan(static_cast<size_t>(visible)), testing::Each(-kInf));
    }
  }
}

TEST(IndexScores, HaveTheSameBitsOnAnyExecutorAndInPagesApart) {
  for (const CacheFormat format : kFormats) {
    const std::vector<float> want = Problem(format, 0).run();
    Problem apart(format, kGap);
    for (const auto& executor : all_executors())
      EXPECT_EQ(apart.run(*executor), want);
  }
}

TEST(IndexScores, HaveTheSameBitsInPagesOfAnySize) {
  for (const CacheFormat format : kFormats) {
    const std::vector<float> want = Problem(format, 0).run();
    for (const int64_t page_tokens : {2, 16, 128, 1024})
      EXPECT_EQ(Problem(format, kGap, page_tokens).run(), want) << page_tokens;
    Problem odd(format, 0);
    std::vector<float> out;
    IndexScores args = odd.args(&out);
    args.keys.page_tokens = 48;
    ThreadPool pool(1);
    Workspace workspace;
    EXPECT_THAT(index_scores(args, pool, workspace).message(),
                HasSubstr("keys: pages of 48 tokens, want a power of two"));
  }
}

TEST(IndexScores, OfAQueryAloneHaveTheBitsOfTheBatch) {
  for (const CacheFormat format : kFormats) {
    Problem problem(format, 0);
    const std::vector<float> together = problem.run();
    std::vector<float> unused;
    IndexScores args = problem.args(&unused);
    ThreadPool pool(2);
    Workspace workspace;
    const std::vector<int32_t> query_start = {0, 1};
    for (const int64_t i : {0, 1, 2, 3, 4, 40, 73}) {
      const auto query = static_cast<size_t>(i);
      const size_t sequence = problem.batch.sequence_of_query(i);
      const std::vector<int32_t> visible = {static_cast<int32_t>(problem.visible(i))};
      std::vector<float> out(kScores);
      args.q = std::span(problem.q).subspan(query * kHeads * kDim, kHeads * kDim);
      args.weights = std::span(problem.weights).subspan(query * kHeads, kHeads);
      args.batch.query_start = query_start;
      args.batch.lengths = std::span(problem.batch.lengths).subspan(sequence, 1);
      const auto blocks = static_cast<size_t>(problem.batch.max_blocks);
      args.batch.block_tables = std::span(problem.batch.tables).subspan(sequence * blocks, blocks);
      args.batch.visible = visible;
      args.out = out;
      const Status status = index_scores(args, pool, workspace);
      ASSERT_TRUE(status.ok()) << status.message();
      EXPECT_TRUE(std::equal(out.begin(), out.end(), together.begin() + i * kScores)) << i;
    }
  }
}

TEST(IndexScores, TakeBf16) {
  for (const CacheFormat format : kFormats) {
    Problem problem(format, 0);
    const std::vector<uint16_t> q = to_bf16(problem.q);
    const std::vector<uint16_t> weights = to_bf16(problem.weights);
    problem.q = to_f32(q);
    problem.weights = to_f32(weights);
    const std::vector<float> want = problem.run();
    std::vector<float> got;
    IndexScores args = problem.args(&got);
    args.q = q;
    args.weights = weights;
    ThreadPool pool(1);
    Workspace workspace;
    ASSERT_TRUE(index_scores(args, pool, workspace).ok());
    EXPECT_EQ(got, want);
  }
}

TEST(IndexScores, AreComputedInAWorkspaceOfTheSizeNamed) {
  Problem problem(CacheFormat::kFp8, 0);
  std::vector<float> out;
  const IndexScores args = problem.args(&out);
  ThreadPool pool(2);
  const Result<int64_t> bytes = workspace_bytes(args, pool);
  ASSERT_TRUE(bytes.ok());
  std::vector<uint8_t> memory(static_cast<size_t>(*bytes) + 1, 0xFF);
  Workspace workspace{std::span(memory).subspan(1)};
  ASSERT_TRUE(index_scores(args, pool, workspace).ok());
  EXPECT_EQ(out, Problem(CacheFormat::kFp8, 0).run());
  Workspace none(std::span<uint8_t>{});
  EXPECT_EQ(index_scores(args, pool, none).message(),
            "workspace: 0 bytes, want " + std::to_string(*bytes));
}

TEST(IndexScores, NameTheArgument) {
  std::vector<uint8_t> page(static_cast<size_t>(index_page_bytes(CacheFormat::kFp8, 16)));
  const std::vector<float> q(16);
  const std::vector<float> weights(1);
  std::vector<float> out(64);
  const std::vector<int32_t> query_start = {0, 1};
  std::vector<int32_t> lengths = {64};
  std::vector<int32_t> tables = {0};
  std::vector<int32_t> visible = {65};
  ThreadPool pool(1);
  Workspace workspace;
  IndexScores args = {.format = CacheFormat::kFp8,
                      .n_heads = 1,
                      .dim = 16,
                      .q = q,
                      .weights = weights,
                      .keys = {.data = page.data(), .n_pages = 1},
                      .batch = {query_start, lengths, tables, 1, {}},
                      .n_scores = 64,
                      .out = out};
  const auto message = [&] { return index_scores(args, pool, workspace).message(); };
  EXPECT_EQ(message(), "");
  tables[0] = 1;
  EXPECT_EQ(message(), "block_tables[0, 0]: 1, want 0 to 0");
  tables[0] = 0;
  args.n_scores = 65;
  EXPECT_EQ(message(), "out: 64 elements, want 65");
  args.n_scores = 63;
  args.out = std::span(out).first(63);
  EXPECT_EQ(message(), "n_scores: 63, want 64 for query 0");
  args.n_scores = 64;
  args.out = out;
  args.batch.visible = visible;
  EXPECT_EQ(message(), "visible[0]: 65, want 0 to 64");
  args.batch.visible = {};
  args.dim = 12;
  EXPECT_EQ(message(), "dim: 12, want a power of two");
  args.dim = 16;
  args.batch.query_start = {};
  EXPECT_EQ(message(), "query_start: 0 elements, want at least 1");
}

TEST(SelectTopK, PrefersTheMoreRecentOfEqualsAndPadsWithMinusOne) {
  const std::vector<float> scores = {1, 3, 3, 2, 3,  //
                                     5, 4, 9, 9, 9,  //
                                     0, 0, 0, 0, 0};
  const std::vector<int32_t> visible = {5, 2, 0};
  std::vector<int32_t> out(9);
  std::vector<int32_t> counts(3);
  for (const auto& executor : all_executors()) {
    Workspace workspace;
    ASSERT_TRUE(select_top_k({scores, 3, 5, visible, 3, out, counts}, *executor, workspace).ok());
    EXPECT_THAT(out, ElementsAre(1, 2, 4, 0, 1, -1, -1, -1, -1));
    EXPECT_THAT(counts, ElementsAre(3, 2, 0));
    ASSERT_TRUE(select_top_k({scores, 3, 5, {}, 3, out, {}}, *executor, workspace).ok());
    EXPECT_THAT(out, ElementsAre(1, 2, 4, 2, 3, 4, 2, 3, 4));
  }
}

TEST(SelectTopK, NamesTheArgument) {
  const std::vector<float> scores(6);
  const std::vector<int32_t> visible = {4, 3};
  std::vector<int32_t> out(4);
  ThreadPool pool(1);
  Workspace workspace;
  SelectTopK args = {scores, 2, 3, {}, 2, out, {}};
  const auto message = [&] { return select_top_k(args, pool, workspace).message(); };
  EXPECT_EQ(message(), "");
  args.k = -1;
  EXPECT_THAT(message(), HasSubstr("k: -1, want 0 to"));
  args.k = 3;
  EXPECT_EQ(message(), "out: 4 elements, want 6");
  args.k = 2;
  args.visible = visible;
  EXPECT_EQ(message(), "visible[0]: 4, want 0 to 3");
  args.visible = {};
  args.n_scores = 4;
  EXPECT_EQ(message(), "scores: 6 elements, want 8");
}

}  // namespace
}  // namespace dsa
