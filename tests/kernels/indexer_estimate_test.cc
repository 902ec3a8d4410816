#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "formats/float_bits.h"
#include "kernels/kernel_table.h"
#include "reference/indexer.h"
#include "tests/kernels/index_key_pages.h"
#include "tests/kernels/tiers.h"

namespace dsa::kernels {
namespace {

using Sizes = std::initializer_list<size_t>;
constexpr float kCanary = 12345.0F;
constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

// Queries as pack_queries() leaves them: e4m3 values, the largest of a head in (224, 448].
Query make_scaled_query(size_t n_heads, size_t dim, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Query query;
  for (size_t h = 0; h < n_heads; ++h) {
    const float size = std::exp2(6.0F + static_cast<float>(random() % 100) / 100);
    for (size_t d = 0; d < dim; ++d)
      query.q.push_back(e4m3_to_f32(f32_to_e4m3(std::fmin(size * normal(random), 448.0F))));
    query.weights.push_back(normal(random));
  }
  return query;
}

KeyPages make_scaled_keys(size_t dim, size_t n_keys, unsigned seed) {
  KeyPages pages({CacheFormat::kFp8, dim}, n_keys, seed);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (size_t j = 0; j < n_keys; ++j) {
    const float size = std::exp2(6.0F + static_cast<float>(random() % 100) / 100);
    for (size_t d = 0; d < dim; ++d)
      pages.set(j, d, std::fmin(size * normal(random), 448.0F));
  }
  return pages;
}

class IndexEstimates : public TierTest {
 protected:
  using Packed = std::unique_ptr<void, decltype(&std::free)>;

  void SetUp() override {
    TierTest::SetUp();
    if (!IsSkipped() && kernels().indexer->estimate == nullptr) {
      GTEST_SKIP() << "this tier has no estimates";
    }
  }

  static const IndexEstimateKernels& estimate() { return *kernels().indexer->estimate; }

  struct Result {
    std::vector<float> scores;
    std::vector<float> estimates;
    std::vector<float> reach;
    float gain = 0;
  };

  static Packed allocate(size_t bytes) {
    Packed packed(std::aligned_alloc(64, bytes + 64), &std::free);
    std::memset(packed.get(), 0xFF, bytes + 64);
    return packed;
  }
  static void expect_end(const Packed& packed, size_t bytes) {
    for (size_t i = bytes; i < bytes + 64; ++i)
      EXPECT_EQ(static_cast<const uint8_t*>(packed.get())[i], 0xFF) << "packed past its end";
  }

  static Packed pack_exact(const Query& query, size_t dim) {
    const size_t n_heads = query.weights.size();
    const IndexerKernels& indexer = *kernels().indexer;
    Packed packed = allocate(indexer.packed_query_bytes(CacheFormat::kFp8, n_heads, dim));
    indexer.pack_query(CacheFormat::kFp8, query.q.data(), query.weights.data(), n_heads, dim,
                       packed.get());
    return packed;
  }

  static Result run(const KeyPages& pages, const Query& query, size_t first, size_t last) {
    IndexScoresArgs args = pages.args();
    const size_t n_heads = query.weights.size();
    const size_t dim = args.layout.dim;
    const size_t n = last - first;
    const size_t bytes = estimate().packed_bytes(n_heads, dim);
    EXPECT_GT(bytes, 0U);
    EXPECT_EQ(bytes % 64, 0U);
    const Packed packed = allocate(bytes);
    Result result;
    result.gain = estimate().pack(query.q.data(), query.weights.data(), n_heads, dim, packed.get());
    expect_end(packed, bytes);
    const Packed exact = pack_exact(query, dim);
    const void* rows[] = {packed.get()};
    result.estimates.assign(n + 32, kCanary);
    result.reach.assign(n + 32, kCanary);
    args.queries = rows;
    args.n_queries = 1;
    args.n_heads = n_heads;
    args.first = first;
    args.last = last;
    args.out = result.estimates.data();
    args.ld_out = n;
    estimate().estimates(args, result.reach.data());
    for (size_t i = n; i < n + 32; ++i) {
      EXPECT_EQ(result.estimates[i], kCanary);
      EXPECT_EQ(result.reach[i], kCanary);
    }
    result.estimates.resize(n);
    result.reach.resize(n);
    result.scores.resize(n);
    rows[0] = exact.get();
    args.out = result.scores.data();
    kernels().indexer->scores(args);
    return result;
  }

  // The bound, for the kernel's score and for the oracle's. Returns the largest share used of it.
  static double expect_bound(KeyPages& pages, const Query& query, size_t n) {
    const Result result = run(pages, query, 0, n);
    double largest_share = 0;
    for (size_t j = 0; j < n; ++j) {
      const auto reach = static_cast<double>(result.gain) * static_cast<double>(result.reach[j]);
      const double oracle = reference::index_score(query.q, query.weights, pages.key(j)).value;
      for (const double score : {static_cast<double>(result.scores[j]), oracle}) {
        if (std::isnan(score)) continue;
        const double error = std::fabs(score - static_cast<double>(result.estimates[j]));
        if (std::isinf(reach)) continue;
        EXPECT_LE(error, reach) << "key " << j << ", heads " << query.weights.size();
        largest_share = std::fmax(largest_share, error / reach);
      }
    }
    return largest_share;
  }
};

TEST_P(IndexEstimates, AreWithinReachOfTheScore) {
  for (const size_t dim : Sizes{64, 128}) {
    KeyPages pages = make_scaled_keys(dim, 200, 1);
    for (const size_t n_heads : Sizes{1, 2, 8, 15, 16, 20, 32, 33, 48, 64}) {
      for (const unsigned seed : {2U, 3U, 4U})
        expect_bound(pages, make_scaled_query(n_heads, dim, seed), 200);
    }
  }
}

TEST_P(IndexEstimates, AreCloseForQueriesAndKeysThatFillTheirFormat) {
  KeyPages pages = make_scaled_keys(128, 500, 5);
  const Query query = make_scaled_query(64, 128, 6);
  const Result result = run(pages, query, 0, 500);
  double spread = 0;
  double reach = 0;
  for (size_t j = 0; j < 500; ++j) {
    spread += std::pow(static_cast<double>(result.scores[j]), 2);
    reach += std::pow(static_cast<double>(result.gain * result.reach[j]), 2);
  }
  EXPECT_LT(std::sqrt(reach / spread), 0.5);
}

TEST_P(IndexEstimates, AreWithinReachWhenValuesUseLittleOfTheirFormat) {
  KeyPages pages({CacheFormat::kFp8, 128}, 200, 7);  // values around 1: most become 0
  for (const size_t n_heads : Sizes{1, 8, 64})
    expect_bound(pages, make_query(CacheFormat::kFp8, n_heads, 128, 8), 200);
}

TEST_P(IndexEstimates, AreWithinReachForEveryCode) {
  KeyPages pages({CacheFormat::kFp8, 64}, 256, 9);
  for (size_t code = 0; code < 256; ++code) {
    for (size_t d = 0; d < 64; ++d)
      pages.set_code(code, d, static_cast<uint8_t>(code));
  }
  for (const size_t n_heads : Sizes{1, 7, 64})
    expect_bound(pages, make_scaled_query(n_heads, 64, 10), 256);
}

TEST_P(IndexEstimates, AreWithinReachOfOutliersAndOfEqualAndZeroValues) {
  KeyPages pages = make_scaled_keys(128, 128, 11);
  for (size_t j = 0; j < 128; ++j) {
    for (size_t d = 0; d < 128; ++d) {
      if (j < 32) pages.set(j, d, d == j ? 448.0F : 1.75F);
      if (j >= 32 && j < 64) pages.set(j, d, static_cast<float>(j));
      if (j >= 64 && j < 70) pages.set(j, d, 0.0F);
    }
  }
  Query query = make_scaled_query(64, 128, 12);
  expect_bound(pages, query, 128);
  for (size_t i = 0; i < query.q.size(); ++i)
    query.q[i] = i % 128 == 3 ? 448.0F : 1.875F;
  expect_bound(pages, query, 128);
  for (float& weight : query.weights)
    weight = 1;
  expect_bound(pages, query, 128);
}

// Heads that are all alike, and rounding errors that all point the same way: the bound is reached.
TEST_P(IndexEstimates, UseUpTheirReachWhenEveryErrorAddsUp) {
  constexpr size_t kDim = 128;
  for (const size_t n_heads : Sizes{1, 16, 33, 64}) {
    Query query = make_scaled_query(n_heads, kDim, 13);
    for (size_t h = 0; h < n_heads; ++h) {
      query.weights[h] = 0.5F;
      for (size_t d = 0; d < kDim; ++d)
        query.q[h * kDim + d] = d % 3 == 0 ? -64.0F : 64.0F;
    }
    KeyPages pages = make_scaled_keys(kDim, 1, 14);
    for (size_t d = 0; d < kDim; ++d)
      pages.set(0, d, d % 3 == 0 ? -18.0F : 18.0F);  // a tie between 16 and 20
    EXPECT_GT(expect_bound(pages, query, 1), 0.9) << "errors of the key, heads " << n_heads;

    for (size_t h = 0; h < n_heads; ++h) {
      for (size_t d = 0; d < kDim; ++d)
        query.q[h * kDim + d] = d % 3 == 0 ? -18.0F : 18.0F;
      query.q[h * kDim] = -448;  // makes the step 4
    }
    for (size_t d = 0; d < kDim; ++d)
      pages.set(0, d, d % 3 == 0 ? -64.0F : 64.0F);
    EXPECT_GT(expect_bound(pages, query, 1), 0.9) << "errors of the query, heads " << n_heads;
  }
}

TEST_P(IndexEstimates, AreWithinReachForExtremeScales) {
  KeyPages pages = make_scaled_keys(128, 128, 17);
  for (size_t j = 0; j < 128; ++j)
    pages.set_scale(j, std::ldexp(j % 2 == 0 ? 1.0F : -1.0F, static_cast<int>(j) * 2 - 148));
  Query query = make_scaled_query(16, 128, 18);
  for (const float size : {1.0F, 1e-10F, 1e-19F, 1e-30F, 1e-42F, 1e10F, 1e20F, 0.0F}) {
    Query scaled = query;
    for (float& weight : scaled.weights)
      weight *= size;
    const Result result = run(pages, scaled, 0, 128);
    for (size_t j = 0; j < 128; ++j) {
      if (!(std::fabs(result.scores[j]) < IndexEstimateKernels::kLargestLeast)) continue;
      EXPECT_FALSE(std::fabs(result.scores[j] - result.estimates[j]) >
                   result.gain * result.reach[j] + std::numeric_limits<float>::min())
          << "key " << j << ", weights " << size;
    }
  }
}

TEST_P(IndexEstimates, OfAQueryThatIsNotFiniteReachEverything) {
  for (const float bad : {kNan, kInf, -kInf}) {
    Query query = make_scaled_query(16, 64, 19);
    query.weights[5] = bad;
    std::vector<float> packed(16 * 64);
    const Packed out = allocate(estimate().packed_bytes(16, 64));
    EXPECT_EQ(estimate().pack(query.q.data(), query.weights.data(), 16, 64, out.get()), kInf);
    query = make_scaled_query(16, 64, 19);
    query.q[77] = bad;
    EXPECT_EQ(estimate().pack(query.q.data(), query.weights.data(), 16, 64, out.get()), kInf);
  }
}

TEST_P(IndexEstimates, AreTheSameBitsInWhateverRangeAndBlockTheyAreComputed) {
  constexpr size_t kKeys = 3 * PageSize().tokens() + 11;
  KeyPages pages = make_scaled_keys(128, kKeys, 20);
  const Query query = make_scaled_query(20, 128, 21);
  const Result whole = run(pages, query, 0, kKeys);
  for (const size_t first : Sizes{0, 1, 31, 64, 65, 130}) {
    for (const size_t n : Sizes{0, 1, 3, 15, 16, 17, 63, 64, 65, 70}) {
      const Result part = run(pages, query, first, first + n);
      const size_t bytes = n * sizeof(float);
      ASSERT_EQ(std::memcmp(part.estimates.data(), whole.estimates.data() + first, bytes), 0);
      ASSERT_EQ(std::memcmp(part.reach.data(), whole.reach.data() + first, bytes), 0);
    }
  }
}

TEST_P(IndexEstimates, RefuseShapesTheyCannotPack) {
  EXPECT_EQ(estimate().packed_bytes(65, 128), 0U);
  EXPECT_EQ(estimate().packed_bytes(0, 128), 0U);
  EXPECT_EQ(estimate().packed_bytes(64, 256), 0U);
  EXPECT_EQ(estimate().packed_bytes(64, 96), 0U);
}

TEST_P(IndexEstimates, ScoreAListWithTheBitsOfTheWholeRange) {
  constexpr size_t kKeys = 500;
  KeyPages pages = make_scaled_keys(128, kKeys, 22);
  pages.set(77, 3, kNan);
  for (const size_t n_heads : Sizes{1, 20, 64}) {
    const Query query = make_scaled_query(n_heads, 128, 23);
    const Result whole = run(pages, query, 0, kKeys);
    const Packed packed = pack_exact(query, 128);
    const void* rows[] = {packed.get()};
    std::mt19937 random(24);
    for (const size_t n : Sizes{0, 1, 2, 15, 31, 32, 33, 64, 100, 301}) {
      std::vector<int32_t> positions(n);
      for (int32_t& position : positions)
        position = static_cast<int32_t>(random() % kKeys);
      if (n > 2) positions[1] = 77;
      std::vector<float> out(n + 8, kCanary);
      IndexScoresArgs args = pages.args();
      args.queries = rows;
      args.n_queries = 1;
      args.n_heads = n_heads;
      args.out = out.data();
      estimate().scores_at(args, positions.data(), n);
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(std::memcmp(&out[i], &whole.scores[static_cast<size_t>(positions[i])], 4), 0);
      }
      EXPECT_EQ(out[n], kCanary);
    }
  }
}

TEST_P(IndexEstimates, WithinReachAreThoseThatAreNotBelow) {
  std::mt19937 random(25);
  std::normal_distribution<float> normal;
  for (const size_t n : Sizes{0, 1, 15, 16, 63, 64, 65, 200, 1000}) {
    std::vector<float> estimates(n);
    std::vector<float> reach(n);
    for (size_t i = 0; i < n; ++i) {
      estimates[i] = normal(random);
      reach[i] = std::fabs(normal(random));
      if (i % 50 == 7) estimates[i] = kNan;
      if (i % 50 == 9) estimates[i] = kInf;
      if (i % 50 == 11) estimates[i] = -kInf;
    }
    std::vector<int32_t> want;
    for (size_t i = 0; i < n; ++i) {
      if (!(std::fma(0.25F, reach[i], estimates[i]) < 1.0F)) {
        want.push_back(static_cast<int32_t>(i));
      }
    }
    std::vector<int32_t> out(n + 128, -7);
    const size_t found = estimate().within_reach(estimates.data(), reach.data(), 0.25F, 1.0F, n,
                                                 out.data(), out.size());
    out.resize(found);
    EXPECT_EQ(out, want);
    std::vector<int32_t> few(40, -7);
    const size_t capacity = 20;
    if (want.size() >= capacity) {
      EXPECT_EQ(estimate().within_reach(estimates.data(), reach.data(), 0.25F, 1.0F, n, few.data(),
                                        capacity),
                capacity);
      EXPECT_EQ(few[capacity], -7) << "written past its capacity";
    }
  }
}

DSA_INSTANTIATE_TIERS(IndexEstimates);

}  // namespace
}  // namespace dsa::kernels
