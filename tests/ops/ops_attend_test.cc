// Attention of dsa/ops.h on paged caches: against loops in float64, and bit for bit against itself
// in other batches, pages and executors.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "dsa/ops.h"

#include "formats/cache_layout.h"
#include "reference/attention.h"
#include "tests/ops/executors.h"
#include "tests/ops/paged_batch.h"

namespace dsa {
namespace {

using testing::Each;
using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int64_t kLatent = 136;
constexpr int64_t kRope = 16;
constexpr int64_t kRow = kLatent + kRope;
constexpr float kScale = 0.08F;
constexpr CacheFormat kFormats[] = {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32};
constexpr Geometry kGeometries[] = {{64, 0, 0}, {16, 7, 0}, {5, 0, 0}, {48, 9, 100}, {1, 0, 3}};

// Sequences with nothing in the cache, without queries, with lists in one part and in several.
const std::vector<int32_t> kLengths = {130, 0, 1, 1400, 9};
const std::vector<int32_t> kQueries = {2, 1, 1, 3, 0};
constexpr int64_t kListed = 1300;

struct Outputs {
  std::vector<float> out;
  std::vector<float> lse;
  bool operator==(const Outputs&) const = default;
};

// Sequences in a cache, queries, and lists of tokens.
struct Problem {
  CacheFormat format;
  int64_t n_heads;
  PagedBatch batch;
  PagedMemory memory;
  std::vector<float> q;
  std::vector<int32_t> rows;
  std::vector<int32_t> counts;
  std::vector<float> sinks;

  Problem(CacheFormat of_format, const Geometry& geometry, int64_t heads)
      : format(of_format),
        n_heads(heads),
        batch(kLengths, kQueries, geometry.page_tokens),
        memory(batch.n_pages, geometry, latent_row_bytes(format, kLatent, kRope)),
        q(normal_values(static_cast<size_t>(batch.n_queries() * n_heads * kRow), 2)) {
    write();
    make_lists();
  }

  void write() {
    const std::vector<int64_t> slots = batch.all_slots();
    ThreadPool pool(2);
    ASSERT_TRUE(write_latent_rows({.format = format,
                                   .d_latent = kLatent,
                                   .d_rope = kRope,
                                   .latent = normal_values(slots.size() * kLatent, 3),
                                   .rope = normal_values(slots.size() * kRope, 4),
                                   .slots = slots,
                                   .cache = memory.view()},
                                  pool)
                    .ok());
  }
  void make_lists() {
    rows.assign(static_cast<size_t>(batch.n_queries() * kListed), -1);
    for (int64_t i = 0; i < batch.n_queries(); ++i) {
      const int32_t length = kLengths[batch.sequence_of_query(i)];
      const int64_t n = std::min<int64_t>(length, kListed);
      counts.push_back(static_cast<int32_t>(n));
      for (int64_t j = 0; j < n; ++j) {
        if (j % 5 == 4) continue;
        rows[static_cast<size_t>(i * kListed + j)] = static_cast<int32_t>((j * 7 + i) % length);
      }
    }
  }

  SparseAttention args(Outputs* result) const {
    result->out.assign(static_cast<size_t>(batch.n_queries() * n_heads * kLatent), 77.0F);
    result->lse.assign(static_cast<size_t>(batch.n_queries() * n_heads), 77.0F);
    return {.format = format,
            .d_latent = kLatent,
            .d_rope = kRope,
            .n_heads = n_heads,
            .n_queries = batch.n_queries(),
            .scale = kScale,
            .q = q,
            .cache = memory.view(),
            .rows = rows,
            .n_rows = kListed,
            .counts = counts,
            .batch = batch.view(),
            .sinks = sinks,
            .out = result->out,
            .lse = result->lse};
  }
  Outputs run(Executor& executor) const {
    Outputs result;
    Workspace workspace;
    const Status status = sparse_attention(args(&result), executor, workspace);
    EXPECT_TRUE(status.ok()) << status.message();
    return result;
  }
  Outputs run() const {
    ThreadPool pool(2);
    return run(pool);
  }

  reference::HeadAttention expected(int64_t query, int64_t head) const {
    const LatentLayout layout = {format, kLatent, kRope};
    const size_t sequence = batch.sequence_of_query(query);
    std::vector<std::vector<double>> attended;
    for (int64_t j = 0; j < counts[static_cast<size_t>(query)]; ++j) {
      const int32_t token = rows[static_cast<size_t>(query * kListed + j)];
      if (token < 0) continue;
      attended.push_back(reference::latent_row(
          layout, memory.row(batch.page(sequence, token), token % batch.page_tokens)));
    }
    const auto at = static_cast<size_t>((query * n_heads + head) * kRow);
    return reference::attend(std::span(q).subspan(at, kRow), attended, kLatent, double{kScale});
  }
};

// Products of some hundred terms in f32; the query and the weights are rounded to bf16 otherwise.
double tolerance(CacheFormat format, const reference::HeadAttention& want) {
  return (format == CacheFormat::kF32 ? 1e-4 : 0x1p-7) * (1 + want.logit_magnitude);
}

// sink: -inf for none.
void expect_head(
    const Problem& problem, const Outputs& got, int64_t query, int64_t head, double sink) {
  const reference::HeadAttention want = problem.expected(query, head);
  const auto lane = static_cast<size_t>(query * problem.n_heads + head);
  const double bound = tolerance(problem.format, want);
  if (std::isinf(want.lse)) {
    EXPECT_EQ(double{got.lse[lane]}, want.lse);
  } else {
    EXPECT_LE(std::fabs(double{got.lse[lane]} - want.lse), bound);
  }
  const double share = std::isinf(want.lse) ? 0 : 1 / (1 + std::exp(sink - want.lse));
  for (size_t d = 0; d < kLatent; ++d) {
    ASSERT_LE(std::fabs(double{got.out[lane * kLatent + d]} - share * want.out[d]),
              2 * bound * share * want.magnitude[d])
        << "query " << query << ", head " << head << ", column " << d;
  }
}

TEST(SparseAttention, AgreesWithTheDefinitionInPagesOfAnySizeAndStride) {
  for (const CacheFormat format : kFormats) {
    for (const Geometry& geometry : kGeometries) {
      SCOPED_TRACE(std::string(cache_format_name(format)) + ", pages of " +
                   std::to_string(geometry.page_tokens));
      const Problem problem(format, geometry, 6);
      const Outputs got = problem.run();
      for (int64_t i = 0; i < problem.batch.n_queries(); ++i) {
        expect_head(problem, got, i, i % 6, -kInf);
      }
      problem.memory.expect_gaps_untouched();
    }
  }
}

TEST(SparseAttention, AgreesWithTheDefinitionForMoreHeadsThanShareARow) {
  const Problem problem(CacheFormat::kFp8, kGeometries[0], 131);
  const Outputs got = problem.run();
  for (const int64_t head : {0, 127, 128, 130})
    expect_head(problem, got, 5, head, -kInf);
}

TEST(SparseAttention, GivesTheSameBitsInPagesOfAnySizeAndStride) {
  for (const CacheFormat format : kFormats) {
    const Outputs want = Problem(format, kGeometries[0], 6).run();
    for (const Geometry& geometry : kGeometries)
      EXPECT_EQ(Problem(format, geometry, 6).run(), want) << geometry.page_tokens;
  }
}

TEST(SparseAttention, GivesTheSameBitsOnAnyExecutor) {
  for (const CacheFormat format : kFormats) {
    Problem problem(format, kGeometries[1], 131);
    problem.sinks = normal_values(131, 5);
    const Outputs want = problem.run();
    for (const auto& executor : all_executors())
      EXPECT_EQ(problem.run(*executor), want);
  }
}

TEST(SparseAttention, OfASequenceAloneHasTheBitsOfTheBatch) {
  for (const CacheFormat format : kFormats) {
    const Problem problem(format, kGeometries[2], 6);
    const Outputs together = problem.run();
    Outputs alone;
    SparseAttention args = problem.args(&alone);
    alone = {};
    ThreadPool pool(2);
    Workspace workspace;
    for (int64_t i = 0; i < problem.batch.n_queries(); ++i) {
      const auto query = static_cast<size_t>(i);
      const size_t sequence = problem.batch.sequence_of_query(i);
      const std::vector<int32_t> query_start = {0, 1};
      std::vector<float> out(6 * kLatent);
      std::vector<float> lse(6);
      args.n_queries = 1;
      args.q = std::span(problem.q).subspan(query * 6 * kRow, 6 * kRow);
      // No longer than its own list.
      args.n_rows = problem.counts[query];
      args.rows =
          std::span(problem.rows).subspan(query * kListed, static_cast<size_t>(args.n_rows));
      args.counts = {};
      args.batch.query_start = query_start;
      args.batch.lengths = std::span(problem.batch.lengths).subspan(sequence, 1);
      const auto blocks = static_cast<size_t>(problem.batch.max_blocks);
      args.batch.block_tables = std::span(problem.batch.tables).subspan(sequence * blocks, blocks);
      args.out = out;
      args.lse = lse;
      const Status status = sparse_attention(args, pool, workspace);
      ASSERT_TRUE(status.ok()) << status.message();
      alone.out.insert(alone.out.end(), out.begin(), out.end());
      alone.lse.insert(alone.lse.end(), lse.begin(), lse.end());
    }
    EXPECT_EQ(alone, together);
  }
}

TEST(SparseAttention, TakesSlotsWhereThereAreNoBlockTables) {
  for (const Geometry& geometry : kGeometries) {
    const Problem problem(CacheFormat::kFp8, geometry, 6);
    Problem slots = problem;
    for (size_t i = 0; i < slots.rows.size(); ++i) {
      const size_t sequence = problem.batch.sequence_of_query(static_cast<int64_t>(i) / kListed);
      if (slots.rows[i] < 0) continue;
      slots.rows[i] = static_cast<int32_t>(problem.batch.slot(sequence, slots.rows[i]));
    }
    Outputs got;
    SparseAttention args = slots.args(&got);
    args.cache = problem.memory.view();
    args.batch = {};
    ThreadPool pool(2);
    Workspace workspace;
    ASSERT_TRUE(sparse_attention(args, pool, workspace).ok());
    EXPECT_EQ(got, problem.run()) << geometry.page_tokens;
  }
}

TEST(SparseAttention, WeighsSinksAsRowsWithAValueOfZero) {
  for (const CacheFormat format : kFormats) {
    Problem problem(format, kGeometries[3], 6);
    const Outputs without = problem.run();
    problem.sinks = {0.5F, -3.0F, 6.0F, -kInf, kInf, 40.0F};
    const Outputs got = problem.run();
    EXPECT_EQ(got.lse, without.lse);
    for (int64_t i = 0; i < problem.batch.n_queries(); ++i) {
      for (int64_t head = 0; head < 6; ++head)
        expect_head(problem, got, i, head, double{problem.sinks[static_cast<size_t>(head)]});
    }
  }
}

TEST(SparseAttention, TakesAndGivesBf16) {
  for (const CacheFormat format : kFormats) {
    Problem problem(format, kGeometries[1], 131);
    const std::vector<uint16_t> q = to_bf16(problem.q);
    problem.q = to_f32(q);
    problem.sinks = normal_values(131, 6);
    const Outputs want = problem.run();
    Outputs got;
    SparseAttention args = problem.args(&got);
    std::vector<uint16_t> out(got.out.size());
    args.q = q;
    args.out = out;
    ThreadPool pool(3);
    Workspace workspace;
    ASSERT_TRUE(sparse_attention(args, pool, workspace).ok());
    EXPECT_EQ(out, to_bf16(want.out));
    EXPECT_EQ(got.lse, want.lse);
  }
}

TEST(SparseAttention, GivesZeroAndTheLseAskedForWithoutAValidRow) {
  Problem problem(CacheFormat::kBF16, kGeometries[0], 6);
  problem.rows.assign(problem.rows.size(), -5);
  problem.sinks = {0, -kInf, kInf, 1, 2, 3};
  EXPECT_THAT(problem.run().out, Each(0.0F));
  EXPECT_THAT(problem.run().lse, Each(-kInf));
  Outputs got;
  SparseAttention args = problem.args(&got);
  args.empty_lse = kInf;
  ThreadPool pool(1);
  Workspace workspace;
  ASSERT_TRUE(sparse_attention(args, pool, workspace).ok());
  EXPECT_THAT(got.out, Each(0.0F));
  EXPECT_THAT(got.lse, Each(kInf));
}

TEST(SparseAttention, ComputesInAWorkspaceOfTheSizeItNames) {
  Problem problem(CacheFormat::kFp8, kGeometries[2], 131);
  const Outputs want = problem.run();
  ThreadPool pool(2);
  Outputs got;
  const SparseAttention args = problem.args(&got);
  const Result<int64_t> bytes = workspace_bytes(args, pool);
  ASSERT_TRUE(bytes.ok());
  std::vector<uint8_t> memory(static_cast<size_t>(*bytes) + 2, 0xFF);  // NaN where it is read
  memory.back() = 0x5A;
  Workspace workspace{std::span(memory).subspan(1, static_cast<size_t>(*bytes))};
  ASSERT_TRUE(sparse_attention(args, pool, workspace).ok());
  EXPECT_EQ(got, want);
  EXPECT_EQ(memory.front(), 0xFF);
  EXPECT_EQ(memory.back(), 0x5A);

  Workspace small{std::span(memory).subspan(0, 100)};
  const Outputs untouched = (static_cast<void>(problem.args(&got)), got);
  EXPECT_THAT(sparse_attention(args, pool, small).message(),
              HasSubstr("workspace: 100 bytes, want " + std::to_string(*bytes)));
  EXPECT_EQ(got, untouched);
}

class SparseAttentionChecks : public testing::Test {
 protected:
  std::string message() {
    args_.q = q_;
    args_.rows = rows_;
    args_.out = out_;
    args_.lse = lse_;
    args_.cache.data = cache_.data();
    return sparse_attention(args_, pool_, workspace_).message();
  }

  ThreadPool pool_{1};
  Workspace workspace_;
  std::vector<uint8_t> cache_ = std::vector<uint8_t>(4 * 24);
  std::vector<int32_t> rows_ = {0, 3};
  std::vector<float> q_ = std::vector<float>(6);
  std::vector<float> out_ = std::vector<float>(4, 9.0F);
  std::vector<float> lse_ = {9.0F};
  SparseAttention args_ = {.format = CacheFormat::kF32,
                           .d_latent = 4,
                           .d_rope = 2,
                           .n_heads = 1,
                           .n_queries = 1,
                           .scale = 1.0F,
                           .cache = {.n_pages = 2, .page_tokens = 2},
                           .n_rows = 2};
};

TEST_F(SparseAttentionChecks, NameTheArgumentAndWriteNothing) {
  rows_[1] = 4;
  EXPECT_EQ(message(), "rows[0, 1]: 4, want less than 4");
  rows_[1] = 3;
  q_.resize(5);
  EXPECT_EQ(message(), "q: 5 elements, want 6");
  q_.resize(6);
  args_.d_latent = 3;
  EXPECT_EQ(message(), "d_latent: 3, want an even number");
  args_.d_latent = 4;
  args_.n_heads = 0;
  EXPECT_THAT(message(), HasSubstr("n_heads: 0, want 1 to"));
  args_.n_heads = 1;
  const std::vector<int32_t> counts = {3};
  args_.counts = counts;
  EXPECT_EQ(message(), "counts[0]: 3, want 0 to 2");
  args_.counts = {};
  const std::vector<float> sinks(2);
  args_.sinks = sinks;
  EXPECT_EQ(message(), "sinks: 2 elements, want 1");
  args_.sinks = {};
  lse_.resize(2);
  EXPECT_EQ(message(), "lse: 2 elements, want 1");
  lse_.resize(1);
  EXPECT_THAT(out_, Each(9.0F));
  EXPECT_THAT(lse_, Each(9.0F));
  EXPECT_EQ(message(), "");
}

TEST_F(SparseAttentionChecks, RefuseViewsThatMakeNoSense) {
  args_.cache.row_stride = 23;
  EXPECT_EQ(message(), "cache: row_stride 23, want 0 or at least 24");
  args_.cache.row_stride = 0;
  args_.cache.page_stride = -48;
  EXPECT_EQ(message(), "cache: page_stride -48, want 0 or at least 48");
  args_.cache.page_stride = int64_t{1} << 62;
  EXPECT_THAT(message(), HasSubstr("cache: 2 pages 4611686018427387904 bytes apart, want at most"));
  args_.cache.page_stride = 0;
  args_.cache.row_stride = std::numeric_limits<int64_t>::max();
  EXPECT_THAT(message(), HasSubstr("cache: 2 rows 9223372036854775807 bytes apart, want at most"));
  args_.cache.row_stride = 0;
  args_.cache.page_tokens = 0;
  EXPECT_THAT(message(), HasSubstr("cache: pages of 0 tokens, want 1 to"));
  args_.cache.page_tokens = int64_t{1} << 30;
  args_.cache.n_pages = 3;
  EXPECT_THAT(message(), HasSubstr("cache: 3 pages of 1073741824 tokens, want at most 2"));
  args_.cache.page_tokens = 2;
  args_.cache.n_pages = -1;
  EXPECT_THAT(message(), HasSubstr("cache: -1 pages, want 0 to"));
}

TEST_F(SparseAttentionChecks, RefuseBatchesThatMakeNoSense) {
  std::vector<int32_t> query_start = {0, 1};
  std::vector<int32_t> lengths = {4};
  std::vector<int32_t> tables = {1, 0};
  args_.batch = {.query_start = query_start,
                 .lengths = lengths,
                 .block_tables = tables,
                 .max_blocks = 2,
                 .visible = {}};
  EXPECT_EQ(message(), "");
  lengths[0] = 3;
  EXPECT_EQ(message(), "rows[0, 1]: 3, want less than 3");
  lengths[0] = 5;
  EXPECT_EQ(message(), "lengths[0]: 5 in blocks of 2, want at most 2 blocks");
  lengths[0] = -1;
  EXPECT_EQ(message(), "lengths[0]: -1, want 0 or more");
  lengths[0] = 4;
  tables[1] = 2;
  EXPECT_EQ(message(), "block_tables[0, 1]: 2, want 0 to 1");
  tables[1] = 0;
  args_.batch.max_blocks = 3;
  EXPECT_EQ(message(), "block_tables: 2 elements, want 3");
  args_.batch.max_blocks = 2;
  query_start[1] = 2;
  EXPECT_EQ(message(), "query_start: ends at 2, want 1 queries");
  query_start[1] = -1;
  EXPECT_EQ(message(), "query_start[1]: -1, want at least 0");
}

}  // namespace
}  // namespace dsa
