#include "reference/indexer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "formats/float_bits.h"
#include "kernels/kernel_table.h"
#include "tests/kernels/index_key_pages.h"
#include "tests/kernels/tiers.h"

namespace dsa::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
using Sizes = std::initializer_list<size_t>;

constexpr float kCanary = 12345.0F;
constexpr CacheFormat kFormats[] = {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32};

class IndexScores : public TierTest {
 protected:
  using Packed = std::unique_ptr<void, decltype(&std::free)>;

  static Packed pack(CacheFormat format, const Query& query, size_t dim) {
    const IndexerKernels& indexer = *kernels().indexer;
    const size_t n_heads = query.weights.size();
    const size_t bytes = indexer.packed_query_bytes(format, n_heads, dim);
    EXPECT_EQ(bytes % 64, 0U);
    Packed packed(std::aligned_alloc(64, bytes + 64), &std::free);
    std::memset(packed.get(), 0xFF, bytes + 64);
    indexer.pack_query(format, query.q.data(), query.weights.data(), n_heads, dim, packed.get());
    for (size_t i = bytes; i < bytes + 64; ++i) {
      EXPECT_EQ(static_cast<const uint8_t*>(packed.get())[i], 0xFF) << "packed past its end";
    }
    return packed;
  }

  // Scores of positions [first, last), canaries checked.
  static std::vector<float> score(const KeyPages& pages,
                                  const Query& query,
                                  size_t first,
                                  size_t last) {
    IndexScoresArgs args = pages.args();
    const Packed packed = pack(args.layout.format, query, args.layout.dim);
    const void* queries[] = {packed.get()};
    std::vector<float> out(last - first + 32, kCanary);
    args.queries = queries;
    args.n_queries = 1;
    args.n_heads = query.weights.size();
    args.first = first;
    args.last = last;
    args.out = out.data();
    args.ld_out = last - first;
    kernels().indexer->scores(args);
    for (size_t i = last - first; i < out.size(); ++i) {
      EXPECT_EQ(out[i], kCanary) << "written past the end, at " << i;
    }
    out.resize(last - first);
    return out;
  }
};

// Rounding of dim products, n_heads terms and the scale, each at most half a unit in the last
// place of the running sum of magnitudes.
double score_tolerance(const reference::IndexScore& expected, size_t n_heads, size_t dim) {
  return static_cast<double>(dim + n_heads + 8) * 0x1p-24 * expected.magnitude;
}

void expect_scores(const std::vector<float>& scores,
                   KeyPages& pages,
                   const Query& query,
                   size_t first,
                   const std::string& what) {
  const size_t n_heads = query.weights.size();
  for (size_t i = 0; i < scores.size(); ++i) {
    const std::vector<double> key = pages.key(first + i);
    const reference::IndexScore expected = reference::index_score(query.q, query.weights, key);
    ASSERT_LE(std::fabs(static_cast<double>(scores[i]) - expected.value),
              score_tolerance(expected, n_heads, key.size()))
        << what << ", heads " << n_heads << ", dim " << key.size() << ", position " << first + i;
  }
}

TEST_P(IndexScores, MatchTheOracleForEveryNumberOfHeads) {
  for (const CacheFormat format : kFormats) {
    KeyPages pages({format, 128}, 70, 1);
    for (const size_t n_heads : Sizes{1, 4, 6, 8, 16, 20, 32, 48, 64, 100, 128}) {
      const Query query = make_query(format, n_heads, 128, 2);
      expect_scores(score(pages, query, 0, 70), pages, query, 0, cache_format_name(format));
    }
  }
}

TEST_P(IndexScores, MatchTheOracleForEveryKeyWidth) {
  for (const CacheFormat format : kFormats) {
    for (const size_t dim : Sizes{2, 6, 16, 30, 32, 64, 66, 98, 128, 200, 256, 1024}) {
      KeyPages pages({format, dim}, 100, 3);
      const Query query = make_query(format, 20, dim, 4);
      expect_scores(score(pages, query, 0, 100), pages, query, 0, cache_format_name(format));
    }
  }
}

TEST_P(IndexScores, AreTheSameBitsInWhateverRangeTheyAreComputed) {
  constexpr size_t kKeys = 5 * PageSize().tokens() + 11;
  for (const CacheFormat format : kFormats) {
    for (const size_t n_heads : Sizes{5, 16, 40, 64}) {
      KeyPages pages({format, 64}, kKeys, 5);
      const Query query = make_query(format, n_heads, 64, 6);
      const std::vector<float> whole = score(pages, query, 0, kKeys);
      expect_scores(whole, pages, query, 0, cache_format_name(format));
      for (const size_t first : Sizes{0, 1, 3, 31, 63, 64, 65, 130}) {
        for (const size_t n : Sizes{0, 1, 2, 3, 7, 15, 16, 17, 63, 64, 65, 129, 200}) {
          const std::vector<float> part = score(pages, query, first, first + n);
          ASSERT_EQ(std::memcmp(part.data(), whole.data() + first, n * sizeof(float)), 0)
              << cache_format_name(format) << ", heads " << n_heads << ", [" << first << ", +" << n;
        }
      }
    }
  }
}

TEST_P(IndexScores, DoNotDependOnHowManyTokensAPageHolds) {
  constexpr size_t kKeys = 700;
  for (const CacheFormat format : kFormats) {
    for (const size_t dim : Sizes{30, 128}) {
      KeyPages pages({format, dim}, kKeys, 15);
      const Query query = make_query(format, 40, dim, 16);
      const std::vector<float> whole = score(pages, query, 0, kKeys);
      for (const size_t page_tokens : Sizes{1, 2, 8, 16, 32, 128, 256, 1024}) {
        KeyPages others({format, dim, PageSize::of(page_tokens)}, kKeys, 15);
        const std::string what = std::to_string(page_tokens) + " tokens a page";
        for (const size_t first : Sizes{0, 1, 130}) {
          const std::vector<float> part = score(others, query, first, kKeys);
          expect_scores(part, others, query, first, what);
          ASSERT_EQ(std::memcmp(part.data(), whole.data() + first, (kKeys - first) * sizeof(float)),
                    0)
              << cache_format_name(format) << ", " << what;
        }
      }
    }
  }
}

TEST_P(IndexScores, OfABlockOfQueriesEqualThoseOfEachQueryAlone) {
  constexpr size_t kKeys = 150;
  constexpr size_t kQueries = 3;
  for (const CacheFormat format : kFormats) {
    KeyPages pages({format, 32}, kKeys, 7);
    std::vector<Query> queries;
    std::vector<Packed> packed;
    std::vector<const void*> pointers;
    for (unsigned i = 0; i < kQueries; ++i) {
      queries.push_back(make_query(format, 12, 32, 10 + i));
      packed.push_back(pack(format, queries.back(), 32));
      pointers.push_back(packed.back().get());
    }
    IndexScoresArgs args = pages.args();
    args.queries = pointers.data();
    args.n_queries = kQueries;
    args.n_heads = 12;
    args.first = 9;
    args.last = kKeys;
    args.ld_out = kKeys + 5;
    std::vector<float> out(kQueries * args.ld_out, kCanary);
    args.out = out.data();
    kernels().indexer->scores(args);
    for (size_t i = 0; i < kQueries; ++i) {
      const std::vector<float> alone = score(pages, queries[i], 9, kKeys);
      ASSERT_EQ(std::memcmp(alone.data(), out.data() + i * args.ld_out, alone.size() * 4), 0);
      EXPECT_EQ(out[i * args.ld_out + alone.size()], kCanary);
    }
  }
}

TEST_P(IndexScores, OfANanKeyAreNanAndOfItsNeighboursAreNot) {
  for (const CacheFormat format : kFormats) {
    KeyPages pages({format, 64}, 70, 8);
    const Query query = make_query(format, 20, 64, 9);
    pages.set(13, 5, std::numeric_limits<float>::quiet_NaN());
    if (format == CacheFormat::kFp8) pages.set_scale(40, std::nanf(""));
    const std::vector<float> scores = score(pages, query, 0, 70);
    for (size_t j = 0; j < scores.size(); ++j) {
      const bool is_nan = j == 13 || (format == CacheFormat::kFp8 && j == 40);
      EXPECT_EQ(std::isnan(scores[j]), is_nan) << cache_format_name(format) << " " << j;
    }
  }
}

TEST_P(IndexScores, OfInfiniteKeysFollowIeeeArithmetic) {
  for (const CacheFormat format : {CacheFormat::kBF16, CacheFormat::kF32}) {
    KeyPages pages({format, 16}, 20, 8);
    // With one head no padding lane may turn inf * 0 into NaN; with five, signs mix.
    for (const size_t n_heads : Sizes{1, 5}) {
      Query query = make_query(format, n_heads, 16, 9);
      pages.set(3, 0, kInf);
      pages.set(7, 2, -kInf);
      const std::vector<float> scores = score(pages, query, 0, 20);
      for (size_t j = 0; j < scores.size(); ++j) {
        const double want = reference::index_score(query.q, query.weights, pages.key(j)).value;
        EXPECT_EQ(std::isnan(scores[j]), std::isnan(want)) << j;
        if (std::isinf(want)) {
          EXPECT_EQ(static_cast<double>(scores[j]), want) << j;
        }
      }
    }
  }
}

TEST_P(IndexScores, RoundTheQueryToBf16ForBf16Keys) {
  KeyPages pages({CacheFormat::kBF16, 64}, 64, 12);
  Query exact = make_query(CacheFormat::kF32, 8, 64, 13);
  Query rounded = exact;
  for (float& x : rounded.q)
    x = bf16_to_f32(f32_to_bf16(x));
  const std::vector<float> a = score(pages, exact, 0, 64);
  const std::vector<float> b = score(pages, rounded, 0, 64);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

DSA_INSTANTIATE_TIERS(IndexScores);

class TopKScratch : public TierTest {};

// A list that always keeps some positions chooses the rest with a smaller budget, and scratch was
// planned for the largest context.
TEST_P(TopKScratch, OfTheLargestSelectionServesEverySmallerOne) {
  const IndexerKernels& indexer = *kernels().indexer;
  for (const size_t k : Sizes{1, 32, 33, 50, 2048}) {
    for (const size_t n : Sizes{64, 1000, 16000, 16640, 131072}) {
      const size_t largest = indexer.top_k_scratch_bytes(n, k);
      EXPECT_GE(largest, indexer.top_k_scratch_bytes(n, k - 1));
      EXPECT_GE(largest, indexer.top_k_scratch_bytes(n, k / 2));
      EXPECT_GE(largest, indexer.top_k_scratch_bytes(n - 1, k));
      EXPECT_GE(largest, indexer.top_k_scratch_bytes(n / 2, k));
    }
  }
  EXPECT_GE(indexer.top_k_scratch_bytes(16000, 2048), indexer.top_k_scratch_bytes(16000, 1900));
}

DSA_INSTANTIATE_TIERS(TopKScratch);

}  // namespace
}  // namespace dsa::kernels
