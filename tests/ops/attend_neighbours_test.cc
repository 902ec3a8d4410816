#include "ops/attend_neighbours.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "dsa/thread_pool.h"

#include "ops/attend_rows.h"
#include "runtime/aligned_buffer.h"
#include "tests/kernels/tiers.h"

namespace dsa {
namespace {

constexpr size_t kContext = 700;
constexpr PageSize kPage;

// Ascending lists of n positions; each keeps a share of the one before.
std::vector<int32_t> make_lists(size_t n_queries, size_t n, double kept) {
  std::mt19937 random(1);
  std::vector<int32_t> all(kContext);
  std::iota(all.begin(), all.end(), 0);
  std::shuffle(all.begin(), all.end(), random);
  std::vector<int32_t> lists;
  const auto n_new = static_cast<std::ptrdiff_t>((1 - kept) * static_cast<double>(n));
  for (size_t i = 0; i < n_queries; ++i) {
    std::rotate(all.begin(), all.begin() + n_new, all.end());
    lists.insert(lists.end(), all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n));
    std::sort(lists.end() - static_cast<std::ptrdiff_t>(n), lists.end());
  }
  return lists;
}

struct Rows {
  AlignedBuffer memory;
  RowUnion rows;

  Rows(size_t max_selected) {
    ScratchPlan plan;
    rows.plan(max_selected, kContext, &plan);
    memory = std::move(plan.allocate("union").value());
  }
};

TEST(RowUnion, HoldsEveryListedPositionOnceAndWhoSeesIt) {
  for (const double kept : {0.0, 0.7, 1.0}) {
    for (const size_t n_queries : {1UL, 3UL, 8UL}) {
      constexpr size_t kListed = 150;
      Rows u(kListed);
      const std::vector<int32_t> lists = make_lists(n_queries, kListed, kept);
      const std::vector<int32_t> counts(n_queries, kListed);
      for (int repeat = 0; repeat < 2; ++repeat) {  // nothing is left over from the first
        u.rows.build(lists.data(), kListed, counts.data(), n_queries);
        std::vector<int32_t> united(u.rows.positions, u.rows.positions + u.rows.n_positions);
        for (size_t i = 0; i < n_queries; ++i) {
          std::vector<int32_t> seen;
          for (size_t j = 0; j < united.size(); ++j) {
            if ((u.rows.visible[i * u.rows.words + j / 64] >> (j % 64) & 1) != 0)
              seen.push_back(united[j]);
          }
          std::sort(seen.begin(), seen.end());
          EXPECT_TRUE(std::equal(seen.begin(), seen.end(),
                                 lists.begin() + static_cast<std::ptrdiff_t>(i * kListed),
                                 lists.begin() + static_cast<std::ptrdiff_t>((i + 1) * kListed)));
        }
        std::sort(united.begin(), united.end());
        EXPECT_EQ(std::adjacent_find(united.begin(), united.end()), united.end());
      }
    }
  }
}

TEST(RowUnion, OfEmptyListsIsEmpty) {
  Rows u(4);
  const std::vector<int32_t> counts(3, 0);
  u.rows.build(nullptr, 0, counts.data(), 3);
  EXPECT_EQ(u.rows.n_positions, 0U);
}

struct Shape {
  size_t n_heads;
  double kept;
};

class AttendNeighbours : public testing::TestWithParam<Shape> {
 protected:
  static constexpr size_t kQueries = 19;
  static constexpr size_t kListed = 200;
  static constexpr size_t kLatent = 96;
  static constexpr size_t kRope = 16;

  AttendNeighbours()
      : lists_(make_lists(kQueries, kListed, GetParam().kept)), counts_(kQueries, kListed) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    counts_[3] = 70;
    counts_[4] = 0;
    pages_.resize(kPage.pages(kContext));
    std::iota(pages_.rbegin(), pages_.rend(), 0);
    cache_.resize(pages_.size() * kPage.tokens() * layout_.row_bytes());
    std::vector<float> row(kLatent + kRope);
    for (size_t t = 0; t < kContext; ++t) {
      std::generate(row.begin(), row.end(), [&] { return normal(random); });
      store_latent_row(*kernels::scalar_table().vector, layout_, row.data(), row.data() + kLatent,
                       view().row_address(t));
    }
    q_.resize(kQueries * GetParam().n_heads * (kLatent + kRope));
    std::generate(q_.begin(), q_.end(), [&] { return normal(random); });
  }

  LatentCacheView view() { return {layout_, cache_.data(), pages_}; }

  std::vector<float> run(const kernels::KernelTable* table, int n_threads, size_t n_queries) {
    ThreadPool pool(n_threads);
    const OpContext context = {table, &pool};
    const size_t n_heads = GetParam().n_heads;
    std::vector<RowUnion> unions(static_cast<size_t>(n_threads));
    ScratchPlan plan;
    for (RowUnion& rows : unions)
      rows.plan(kListed, kContext, &plan);
    uint8_t* scratch = nullptr;
    const size_t bytes = attend_scratch_bytes(context, layout_, n_heads);
    plan.add(&scratch, bytes * static_cast<size_t>(n_threads));
    const AlignedBuffer memory = std::move(plan.allocate("scratch").value());
    std::vector<float> out(n_queries * n_heads * kLatent);
    std::vector<float> lse(n_queries * n_heads);
    attend_neighbours(context,
                      {view(),
                       {lists_.data(), counts_.data(), kListed},
                       n_queries,
                       n_heads,
                       0.1F,
                       q_.data(),
                       out.data(),
                       lse.data()},
                      unions, scratch, bytes);
    return out;
  }

  // Each query by a call of its own.
  std::vector<float> one_by_one(const kernels::KernelTable* table) {
    ThreadPool pool(1);
    const OpContext context = {table, &pool};
    const size_t n_heads = GetParam().n_heads;
    const size_t bytes = attend_scratch_bytes(context, layout_, n_heads);
    const AlignedBuffer scratch = std::move(AlignedBuffer::allocate(bytes, "scratch").value());
    std::vector<float> out(kQueries * n_heads * kLatent);
    std::vector<float> lse(n_heads);
    std::vector<float> part_out(kMaxAttentionParts * n_heads * kLatent);
    std::vector<float> part_lse(kMaxAttentionParts * n_heads);
    for (size_t i = 0; i < kQueries; ++i) {
      std::vector<int32_t> rows;
      for (int32_t j = 0; j < counts_[i]; ++j)
        rows.push_back(
            view().row(static_cast<size_t>(lists_[i * kListed + static_cast<size_t>(j)])));
      RowAttention args;
      args.layout = layout_;
      args.base = cache_.data();
      args.rows = rows.data();
      args.counts = &counts_[i];
      args.q = q_.data() + i * n_heads * (kLatent + kRope);
      args.n_queries = 1;
      args.n_heads = n_heads;
      args.scale = 0.1F;
      args.out = out.data() + i * n_heads * kLatent;
      args.lse = lse.data();
      attend_rows(context, args, part_out.data(), part_lse.data(), scratch.data(), bytes);
    }
    return out;
  }

  LatentLayout layout_ = {CacheFormat::kFp8, kLatent, kRope};
  std::vector<int32_t> lists_;
  std::vector<int32_t> counts_;
  std::vector<int32_t> pages_;
  std::vector<uint8_t> cache_;
  std::vector<float> q_;
};

// The weights of both are rounded to bf16 in some tiers, each relative to its own running maximum.
constexpr float kTolerance = 0x1p-7F;

TEST_P(AttendNeighbours, AgreesWithEachQueryAlone) {
  for (const kernels::KernelTable* table : kernels::runnable_tables()) {
    const std::vector<float> want = one_by_one(table);
    const std::vector<float> got = run(table, 1, kQueries);
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_LE(std::fabs(got[i] - want[i]), kTolerance) << table->tier_name << " at " << i;
  }
}

TEST_P(AttendNeighbours, GivesTheSameBitsForAnyNumberOfThreads) {
  for (const kernels::KernelTable* table : kernels::runnable_tables()) {
    const std::vector<float> one = run(table, 1, kQueries);
    for (const int n_threads : {2, 3}) {
      const std::vector<float> many = run(table, n_threads, kQueries);
      EXPECT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)), 0);
    }
  }
}

// Query 0's list does not have the row; its tile's do.
TEST_P(AttendNeighbours, KeepsNanFromQueriesThatDidNotSelectIt) {
  const size_t width = GetParam().n_heads * kLatent;
  std::vector<int32_t> foreign;
  const auto of = [this](size_t i) {
    return lists_.begin() + static_cast<std::ptrdiff_t>(i * kListed);
  };
  std::set_difference(of(1), of(2), of(0), of(1), std::back_inserter(foreign));
  if (foreign.empty()) GTEST_SKIP() << "all lists are the same";
  std::memset(view().row_address(static_cast<size_t>(foreign[0])), 0xFF, layout_.row_bytes());
  for (const kernels::KernelTable* table : kernels::runnable_tables()) {
    const std::vector<float> got = run(table, 1, kQueries);
    for (size_t i = 0; i < width; ++i) {
      ASSERT_FALSE(std::isnan(got[i])) << table->tier_name;
      ASSERT_TRUE(std::isnan(got[width + i])) << table->tier_name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(,
                         AttendNeighbours,
                         testing::Values(Shape{8, 0.8},
                                         Shape{16, 0.8},
                                         Shape{16, 0.0},
                                         Shape{20, 0.9},
                                         Shape{70, 0.8},
                                         Shape{128, 0.8}),
                         [](const auto& param) {
                           return "heads" + std::to_string(param.param.n_heads) + "_kept" +
                                  std::to_string(static_cast<int>(10 * param.param.kept));
                         });

}  // namespace
}  // namespace dsa
