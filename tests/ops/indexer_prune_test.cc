#include "ops/indexer_prune.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "dsa/thread_pool.h"

#include "formats/float_bits.h"
#include "kernels/tiers.h"

namespace dsa {
namespace {

constexpr size_t kContext = 6000;
constexpr size_t kQueries = 5;
constexpr size_t kTopK = 60;
constexpr IndexerDims kDims = {16, 64, {CacheFormat::kFp8, 64}};

struct Selected {
  std::vector<int32_t> positions;
  std::vector<int32_t> counts;
  std::vector<float> scores;

  bool operator==(const Selected& other) const {
    return positions == other.positions && counts == other.counts &&
           std::memcmp(scores.data(), other.scores.data(), scores.size() * sizeof(float)) == 0;
  }
};

// One cache of keys, indexed with and without pruning.
class Pruning : public testing::Test {
 protected:
  Pruning() {
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
      store(t, key);
    }
    q_.resize(kQueries * kDims.n_heads * kDims.dim);
    weights_.resize(kQueries * kDims.n_heads);
    for (float& value : q_)
      value = normal(random);
    for (float& value : weights_)
      value = normal(random);
  }

  void store(size_t t, const std::vector<float>& key) {
    const IndexCacheView view = {kDims.layout, keys_.data(), pages_};
    store_index_key(*kernels::scalar_table().vector, kDims.layout, key.data(),
                    kDims.layout.page.slot(t), view.page_address(t));
  }

  Selected select(int n_threads,
                  bool pruned,
                  const SelectionRule& rule = {kTopK, 0, 0},
                  size_t n_queries = kQueries) {
    ThreadPool pool(n_threads);
    const OpContext context = {kernels::chosen_table(), &pool};
    IndexerScratch scratch;
    ScratchPlan plan;
    scratch.plan(context, kDims, n_queries, kContext + 1000, rule.top_k, &plan);
    const auto memory = plan.allocate("test");
    if (!pruned) scratch.estimate_bytes = 0;
    std::vector<float> q = q_;
    std::vector<float> weights = weights_;
    const IndexerQueries queries = {q.data(), weights.data(), n_queries, kContext - n_queries};
    EXPECT_EQ(pruning_pays(scratch, rule, queries.first_position),
              pruned && context.kernels->indexer->estimate != nullptr);
    Selected selected;
    selected.positions.assign(n_queries * kTopK, -1);
    selected.counts.assign(n_queries, -1);
    selected.scores.assign(n_queries * kTopK, 0);
    index_and_select(context, kDims, queries, {kDims.layout, keys_.data(), pages_}, rule, &scratch,
                     {selected.positions.data(), selected.counts.data(), kTopK},
                     selected.scores.data());
    return selected;
  }

  void expect_same_selection(const SelectionRule& rule = {kTopK, 0, 0}) {
    const Selected want = select(1, false, rule);
    for (const int n_threads : {1, 3}) {
      EXPECT_EQ(select(n_threads, true, rule), want) << n_threads << " threads";
    }
    Selected one = select(2, true, rule, 1);  // the query that stands last when alone
    const Selected one_want = select(2, false, rule, 1);
    EXPECT_EQ(one, one_want);
  }

  // Rewrites every key from its number.
  void fill(const std::function<void(size_t t, std::vector<float>* key)>& make) {
    std::vector<float> key(kDims.dim);
    for (size_t t = 0; t < kContext; ++t) {
      make(t, &key);
      store(t, key);
    }
  }

  std::vector<uint8_t> keys_;
  std::vector<int32_t> pages_;
  std::vector<float> q_;
  std::vector<float> weights_;
};

TEST_F(Pruning, SelectsTheSameOfRandomKeys) {
  expect_same_selection();
}

TEST_F(Pruning, SelectsTheSameWithPositionsThatAreAlwaysKept) {
  expect_same_selection({kTopK, 3, 20});
  expect_same_selection({kTopK, 0, kTopK - 1});
  expect_same_selection({kTopK, 59, 0});
}

TEST_F(Pruning, SelectsTheSameAmongNearTies) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> centre(kDims.dim);
  for (float& value : centre)
    value = normal(random);
  fill([&](size_t, std::vector<float>* key) {
    for (size_t d = 0; d < kDims.dim; ++d)
      (*key)[d] = centre[d] + 0.02F * normal(random);
  });
  expect_same_selection();
}

TEST_F(Pruning, SelectsTheSameInClusters) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> centres(40, std::vector<float>(kDims.dim));
  for (auto& centre : centres) {
    for (float& value : centre)
      value = normal(random);
  }
  fill([&](size_t, std::vector<float>* key) {
    const auto& centre = centres[random() % centres.size()];
    for (size_t d = 0; d < kDims.dim; ++d)
      (*key)[d] = centre[d] + 0.1F * normal(random);
  });
  expect_same_selection();
}

TEST_F(Pruning, SelectsTheSameAmongTies) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> values(300, std::vector<float>(kDims.dim));
  for (auto& value : values) {
    for (float& x : value)
      x = normal(random);
  }
  fill([&](size_t t, std::vector<float>* key) { *key = values[t * 7 % values.size()]; });
  expect_same_selection();
  fill([&](size_t, std::vector<float>* key) { *key = values[0]; });
  expect_same_selection();
}

TEST_F(Pruning, SelectsTheSameWhenMostScoresAreZero) {
  for (float& weight : weights_)
    weight = std::fabs(weight);
  for (float& value : q_)
    value = std::fabs(value);
  fill([](size_t t, std::vector<float>* key) {
    for (size_t d = 0; d < kDims.dim; ++d)
      (*key)[d] =
          t % 97 == 0 ? static_cast<float>(t % 13) : -1.0F - static_cast<float>((t + d) % 5);
  });
  expect_same_selection();
}

TEST_F(Pruning, SelectsTheSameAmongValuesThatAreNotFinite) {
  const IndexCacheView view = {kDims.layout, keys_.data(), pages_};
  for (size_t t = 0; t < kContext; t += 37) {
    uint8_t* page = view.page_address(t);
    const size_t slot = kDims.layout.page.slot(t);
    if (t % 2 == 0) page[slot * kDims.layout.key_bytes() + t % kDims.dim] = 0x7F;  // NaN
    const float scales[] = {std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(),
                            std::nanf(""),
                            0x1p127F,
                            -0x1p120F,
                            0x1p-149F,
                            0.0F};
    if (t % 3 == 0) {
      std::memcpy(page + kDims.layout.scale_offset() + 4 * slot, &scales[t % std::size(scales)], 4);
    }
  }
  expect_same_selection();
  weights_[3] = std::nanf("");
  weights_[kDims.n_heads + 3] = std::numeric_limits<float>::infinity();
  expect_same_selection();
}

TEST_F(Pruning, SelectsTheSameWhenFewerThanTheBudgetAreNumbers) {
  fill([](size_t t, std::vector<float>* key) {
    for (size_t d = 0; d < kDims.dim; ++d)
      (*key)[d] = t % 150 == 0 ? static_cast<float>((t + d) % 11) - 5.0F : std::nanf("");
  });
  expect_same_selection();
}

TEST_F(Pruning, SelectsTheSameForWeightsTooSmallOrTooLargeForTheBound) {
  for (const float size : {1e-30F, 1e-44F, 1e25F, 0.0F}) {
    std::vector<float> saved = weights_;
    for (float& weight : weights_)
      weight *= size;
    expect_same_selection();
    weights_ = saved;
  }
}

TEST_F(Pruning, IsLeftOutInShortContexts) {
  IndexerScratch scratch;
  scratch.estimate_bytes = 64;
  EXPECT_FALSE(pruning_pays(scratch, {kTopK, 0, 0}, prune_context(kTopK) - 1));
  EXPECT_TRUE(pruning_pays(scratch, {kTopK, 0, 0}, prune_context(kTopK)));
  EXPECT_FALSE(pruning_pays(scratch, {kTopK, kTopK, 0}, kContext));
}

}  // namespace
}  // namespace dsa
