#include "ops/indexer.h"

#include <gmock/gmock.h>

#include <numeric>
#include <random>

#include "dsa/thread_pool.h"

#include "kernels/tiers.h"
#include "reference/top_k.h"

namespace dsa {
namespace {

// A context so long that the scores of all queries do not fit the scratch at once.
constexpr size_t kContext = 60'000;
constexpr size_t kQueries = 200;
constexpr IndexerDims kDims = {2, 16, {CacheFormat::kBF16, 16}};

class LongContext : public testing::Test {
 protected:
  LongContext() : pool_(2), context_{kernels::chosen_table(), &pool_} {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    const size_t n_pages = kDims.layout.page.pages(kContext);
    pages_.resize(n_pages);
    std::iota(pages_.rbegin(), pages_.rend(), 0);
    keys_.resize(n_pages * kDims.layout.page_bytes());
    std::vector<float> key(kDims.dim);
    for (size_t t = 0; t < kContext; ++t) {
      for (float& value : key)
        value = normal(random);
      store_index_key(context_.vector(), kDims.layout, key.data(), kDims.layout.page.slot(t),
                      view().page_address(t));
    }
    q_.resize(kQueries * kDims.n_heads * kDims.dim);
    weights_.resize(kQueries * kDims.n_heads);
    for (float& value : q_)
      value = normal(random);
    for (float& value : weights_)
      value = normal(random);
  }

  IndexCacheView view() { return {kDims.layout, keys_.data(), pages_}; }

  IndexerQueries queries() { return {q_.data(), weights_.data(), kQueries, kContext - kQueries}; }

  // Scores of query i over the tokens it sees.
  std::vector<float> scores_of(size_t i) {
    IndexerQueries one = queries();
    one.q += i * kDims.n_heads * kDims.dim;
    one.weights += i * kDims.n_heads;
    one.n_queries = 1;
    const size_t bytes = context_.kernels->indexer->packed_query_bytes(kDims.layout.format,
                                                                       kDims.n_heads, kDims.dim);
    const AlignedBuffer packed = AlignedBuffer::allocate(bytes, "query").value();
    pack_queries(context_, kDims, one, packed.data(), bytes);
    const void* row = packed.data();
    std::vector<float> scores(kContext - kQueries + i + 1);
    score_keys(context_, kDims, &row, 1, keys_.data(), pages_.data(), scores.size(), scores.data(),
               scores.size());
    return scores;
  }

  ThreadPool pool_;
  OpContext context_;
  std::vector<uint8_t> keys_;
  std::vector<int32_t> pages_;
  std::vector<float> q_;
  std::vector<float> weights_;
};

TEST_F(LongContext, SelectsTheSameInBoundedTilesAsAllAtOnce) {
  constexpr size_t kTopK = 50;
  IndexerScratch scratch;
  ScratchPlan plan;
  scratch.plan(context_, kDims, kQueries, kContext, kTopK, &plan);
  const auto memory = plan.allocate("test");
  ASSERT_LE(scratch.n_scores * sizeof(float), kMaxScoreBytes);
  ASSERT_LT(scratch.n_scores, kQueries * kContext);
  std::vector<int32_t> positions(kQueries * kTopK);
  std::vector<int32_t> counts(kQueries);
  std::vector<float> scores(kQueries * kTopK);
  index_and_select(context_, kDims, queries(), view(), {kTopK, 3, 5}, &scratch,
                   {positions.data(), counts.data(), kTopK}, scores.data());
  for (const size_t i : {size_t{0}, size_t{138}, size_t{139}, size_t{140}, kQueries - 1}) {
    const std::vector<float> all = scores_of(i);
    // Budget 50: the first 3 and the last 5 whatever their score, 42 between them by score.
    const std::vector<float> middle(all.begin() + 3, all.end() - 5);
    std::vector<int32_t> want = {0, 1, 2};
    for (const int32_t best : reference::top_k(middle, 42))
      want.push_back(best + 3);
    for (size_t t = all.size() - 5; t < all.size(); ++t)
      want.push_back(static_cast<int32_t>(t));
    EXPECT_EQ(counts[i], 50);
    const auto begin = positions.begin() + static_cast<std::ptrdiff_t>(i * kTopK);
    EXPECT_EQ(std::vector<int32_t>(begin, begin + 50), want) << "query " << i;
    for (size_t j = 0; j < kTopK; ++j) {
      EXPECT_EQ(scores[i * kTopK + j], all[static_cast<size_t>(want[j])]);
    }
  }
}

}  // namespace
}  // namespace dsa
