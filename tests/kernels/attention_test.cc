#include "reference/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "formats/float_bits.h"
#include "kernels/kernel_table.h"
#include "tests/kernels/latent_rows.h"
#include "tests/kernels/tiers.h"

namespace dsa::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
using Sizes = std::initializer_list<size_t>;

constexpr float kCanary = 12345.0F;
constexpr CacheFormat kFormats[] = {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32};

// One rounding to bf16: half a unit of its 8 significant bits. For fp8 and bf16 rows a tier may
// round the weights p so; for fp8 rows with scales that are not powers of two also the values.
constexpr double kBf16Rounding = 0x1p-8;

struct Result {
  std::vector<float> out;  // [n_queries, n_heads, d_latent]
  std::vector<float> lse;  // [n_queries, n_heads]
};

struct Problem {
  const LatentRows* rows = nullptr;
  std::vector<int32_t> list;
  std::vector<float> q;  // [n_queries, n_heads, d]
  size_t n_queries = 1;
  size_t n_heads = 1;
  float scale = 0.1F;
  std::vector<uint64_t> visible;  // empty: everything

  size_t d() const { return rows->layout().d_latent + rows->layout().d_rope; }
  size_t words() const { return (list.size() + 63) / 64; }
  bool sees(size_t query, size_t j) const {
    if (list[j] < 0) return false;
    return visible.empty() || (visible[query * words() + j / 64] >> (j % 64) & 1) != 0;
  }
};

std::vector<int32_t> iota_list(size_t n) {
  std::vector<int32_t> list(n);
  std::iota(list.begin(), list.end(), 0);
  return list;
}

// q holds bf16 values, so that a tier which rounds q sees what the oracle sees.
Problem make_problem(const LatentRows& rows,
                     std::vector<int32_t> list,
                     size_t n_heads,
                     size_t n_queries,
                     unsigned seed) {
  Problem problem;
  problem.rows = &rows;
  problem.list = std::move(list);
  problem.n_heads = n_heads;
  problem.n_queries = n_queries;
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < n_queries * n_heads * problem.d(); ++i) {
    problem.q.push_back(bf16_to_f32(f32_to_bf16(normal(random))));
  }
  return problem;
}

void hide_at_random(Problem& problem, unsigned seed) {
  std::mt19937_64 random(seed);
  problem.visible.resize(problem.n_queries * problem.words());
  for (uint64_t& word : problem.visible)
    word = random();
}

class Attend : public TierTest {
 protected:
  static Result run(const Problem& problem) {
    const size_t d_latent = problem.rows->layout().d_latent;
    const size_t out_stride = problem.n_heads * d_latent + 3;
    const size_t lse_stride = problem.n_heads + 3;
    std::vector<float> out(problem.n_queries * out_stride + 16, kCanary);
    std::vector<float> lse(problem.n_queries * lse_stride + 16, kCanary);
    const size_t bytes =
        kernels().attention->attend_scratch_bytes(problem.rows->layout(), problem.n_heads);
    const size_t padded = (bytes + 127) / 64 * 64;
    const std::unique_ptr<void, decltype(&std::free)> scratch(std::aligned_alloc(64, padded),
                                                              &std::free);
    std::memset(scratch.get(), 0xFF, padded);  // NaN: nothing may be used before it is written
    AttendArgs args;
    args.layout = problem.rows->layout();
    args.base = problem.rows->base();
    args.row_stride = problem.rows->places().row_stride;
    args.page_gap = problem.rows->places().page_gap;
    args.page_shift = problem.rows->places().page_shift;
    args.rows = problem.list.data();
    args.n_rows = problem.list.size();
    args.q = problem.q.data();
    args.q_stride = problem.n_heads * problem.d();
    args.n_queries = problem.n_queries;
    args.n_heads = problem.n_heads;
    args.visible = problem.visible.empty() ? nullptr : problem.visible.data();
    args.visible_stride = problem.words();
    args.scale = problem.scale;
    args.out = out.data();
    args.out_stride = out_stride;
    args.lse = lse.data();
    args.lse_stride = lse_stride;
    args.scratch = scratch.get();
    kernels().attention->attend(args);
    for (size_t i = bytes; i < padded; ++i) {
      EXPECT_EQ(static_cast<const uint8_t*>(scratch.get())[i], 0xFF) << "scratch overrun";
    }
    return {dense(out, problem.n_queries, out_stride, problem.n_heads * d_latent),
            dense(lse, problem.n_queries, lse_stride, problem.n_heads)};
  }

 private:
  // Removes the padding after each row, which must be untouched.
  static std::vector<float> dense(const std::vector<float>& x, size_t m, size_t ld, size_t n) {
    std::vector<float> rows;
    for (size_t i = 0; i < x.size(); ++i) {
      if (i < m * ld && i % ld < n) {
        rows.push_back(x[i]);
      } else {
        EXPECT_EQ(x[i], kCanary) << "written outside the output, at " << i;
      }
    }
    return rows;
  }
};

// Products of d terms, n_rows weights: each rounding is at most 2^-24 of the sum of magnitudes.
// An error e of the logits moves p by 2 e and lse by e; the weights of a tier that rounds them
// are off by kBf16Rounding.
void expect_head(const Problem& problem,
                 const Result& result,
                 const reference::HeadAttention& expected,
                 size_t lane,
                 double value_rounding) {
  const size_t d_latent = problem.rows->layout().d_latent;
  const double n_rows = static_cast<double>(problem.list.size());
  const double logits = static_cast<double>(problem.d() + 8) * 0x1p-24 * expected.logit_magnitude +
                        value_rounding * expected.logit_magnitude;
  const double sums = (n_rows + 16) * 0x1p-24;
  const double weights =
      problem.rows->layout().format == CacheFormat::kF32 ? 0 : kBf16Rounding + value_rounding;
  const double lse = static_cast<double>(result.lse[lane]);
  if (std::isinf(expected.lse)) {
    EXPECT_EQ(lse, expected.lse);
  } else {
    EXPECT_LE(std::fabs(lse - expected.lse), logits + sums + 0x1p-23 * std::fabs(expected.lse));
  }
  for (size_t c = 0; c < d_latent; ++c) {
    const double got = static_cast<double>(result.out[lane * d_latent + c]);
    ASSERT_LE(std::fabs(got - expected.out[c]),
              expected.magnitude[c] * (2 * logits + 2 * sums + weights))
        << "lane " << lane << ", column " << c;
  }
}

reference::HeadAttention oracle(const Problem& problem, size_t query, size_t head) {
  std::vector<std::vector<double>> seen;
  for (size_t j = 0; j < problem.list.size(); ++j) {
    if (problem.sees(query, j))
      seen.push_back(problem.rows->row(static_cast<size_t>(problem.list[j])));
  }
  const float* q = problem.q.data() + (query * problem.n_heads + head) * problem.d();
  return reference::attend({q, problem.d()}, seen, problem.rows->layout().d_latent,
                           static_cast<double>(problem.scale));
}

void expect_oracle(const Problem& problem, const Result& result, double value_rounding = 0) {
  for (size_t i = 0; i < problem.n_queries; ++i) {
    // Every head of a few, a spread of many.
    for (size_t h = 0; h < problem.n_heads; h += 1 + problem.n_heads / 8) {
      expect_head(problem, result, oracle(problem, i, h), i * problem.n_heads + h, value_rounding);
    }
  }
}

bool same_bits(const std::vector<float>& a, const float* b) {
  return std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0;
}

TEST_P(Attend, MatchesTheOracleForEveryNumberOfRows) {
  for (const CacheFormat format : kFormats) {
    const LatentRows rows({format, 96, 16}, 300, 1);
    for (const size_t n : Sizes{0, 1, 2, 31, 63, 64, 65, 127, 128, 130, 300}) {
      SCOPED_TRACE(std::string(cache_format_name(format)) + ", rows " + std::to_string(n));
      const Problem problem = make_problem(rows, iota_list(n), 4, 1, 2);
      expect_oracle(problem, run(problem));
    }
  }
}

TEST_P(Attend, MatchesTheOracleForEveryNumberOfHeads) {
  for (const CacheFormat format : kFormats) {
    const LatentRows rows({format, 64, 8}, 90, 1);
    for (const size_t n_heads : Sizes{1, 4, 6, 8, 16, 20, 64, 128, 144}) {
      SCOPED_TRACE(std::string(cache_format_name(format)) + ", heads " + std::to_string(n_heads));
      const Problem problem = make_problem(rows, iota_list(90), n_heads, 1, 3);
      expect_oracle(problem, run(problem));
    }
  }
}

TEST_P(Attend, MatchesTheOracleForEveryWidth) {
  const size_t widths[][2] = {{2, 2},   {8, 8},    {30, 6},   {64, 8},
                              {96, 10}, {128, 64}, {200, 32}, {512, 64}};
  for (const CacheFormat format : kFormats) {
    for (const auto& [d_latent, d_rope] : widths) {
      SCOPED_TRACE(std::string(cache_format_name(format)) + ", width " + std::to_string(d_latent));
      const LatentRows rows({format, d_latent, d_rope}, 80, 4);
      const Problem problem = make_problem(rows, iota_list(80), 5, 1, 5);
      expect_oracle(problem, run(problem));
    }
  }
}

TEST_P(Attend, MatchesTheOracleAtTheShapeOfTheModels) {
  const LatentRows rows({CacheFormat::kFp8, 512, 64}, 3000, 6);
  std::vector<int32_t> list = iota_list(3000);
  std::mt19937 random(7);
  std::shuffle(list.begin(), list.end(), random);
  list.resize(2048);
  Problem problem = make_problem(rows, list, 16, 1, 8);
  problem.scale = 0.1352338F;
  expect_oracle(problem, run(problem));
}

TEST_P(Attend, OfRowsApartEqualsThatOfRowsThatFollowEachOther) {
  for (const CacheFormat format : kFormats) {
    const LatentLayout layout = {format, 96, 16};
    const size_t apart = layout.row_bytes() + 7;
    const RowPlaces places[] = {
        {apart, 0, 0},   // rows with bytes between them
        {apart, 33, 4},  // and pages of 16 with more
        // Pages of 5 rows, numbered as pages of 8: three strides less from page to page.
        {apart, 0 - 3 * apart, 3},
    };
    const LatentRows dense(layout, 200, 28);
    std::vector<int32_t> list;
    for (int32_t j = 0; j < 150; ++j)
      list.push_back(j / 5 % 25 * 8 + j % 5);  // rows there are in pages of 5
    const Result expected = run(make_problem(dense, list, 6, 2, 29));
    for (const RowPlaces& place : {places[0], places[1]}) {
      const LatentRows rows(layout, 200, 28, place);
      const Result result = run(make_problem(rows, list, 6, 2, 29));
      EXPECT_TRUE(same_bits(expected.out, result.out.data()));
      EXPECT_TRUE(same_bits(expected.lse, result.lse.data()));
    }
    LatentRows rows(layout, 205, 28, places[2]);
    for (size_t r = 0; r < 200; ++r) {
      if (r % 8 < 5) rows.copy(dense, r);
    }
    EXPECT_TRUE(same_bits(expected.out, run(make_problem(rows, list, 6, 2, 29)).out.data()));
  }
}

TEST_P(Attend, SkipsNegativeRowsAndCountsRepeatedOnes) {
  for (const CacheFormat format : kFormats) {
    const LatentRows rows({format, 64, 16}, 100, 9);
    std::mt19937 random(10);
    std::vector<int32_t> list;
    for (size_t j = 0; j < 200; ++j)
      list.push_back(static_cast<int32_t>(random() % 104) - 4);
    for (size_t j = 64; j < 128; ++j)
      list[j] = -1;  // a whole block
    const Problem problem = make_problem(rows, list, 4, 1, 11);
    expect_oracle(problem, run(problem));
  }
}

TEST_P(Attend, GivesZeroAndMinusInfinityWithoutAVisibleRow) {
  for (const CacheFormat format : kFormats) {
    const LatentRows rows({format, 64, 16}, 70, 12);
    Problem problem = make_problem(rows, std::vector<int32_t>(70, -1), 4, 2, 13);
    Result result = run(problem);
    EXPECT_EQ(result.out, std::vector<float>(result.out.size(), 0.0F));
    EXPECT_EQ(result.lse, std::vector<float>(result.lse.size(), -kInf));

    problem.list = iota_list(70);
    problem.visible = {0, 0, ~0ULL, ~0ULL};  // the second query sees everything
    result = run(problem);
    for (size_t i = 0; i < 4 * 64; ++i)
      EXPECT_EQ(result.out[i], 0.0F);
    for (size_t h = 0; h < 4; ++h)
      EXPECT_EQ(result.lse[h], -kInf);
    expect_oracle(problem, result);
  }
}

TEST_P(Attend, GivesEachQueryOfABlockTheRowsItsMaskShows) {
  for (const CacheFormat format : kFormats) {
    const LatentRows rows({format, 64, 16}, 200, 14);
    for (const size_t n_heads : Sizes{1, 6, 16, 64}) {
      Problem problem = make_problem(rows, iota_list(200), n_heads, 5, 15);
      problem.list[3] = -1;
      hide_at_random(problem, 16);
      problem.visible[1] = 0;  // the first query sees nothing of the second block
      expect_oracle(problem, run(problem));
    }
  }
}

TEST_P(Attend, OfABlockOfQueriesEqualsThatOfEachQueryAlone) {
  for (const CacheFormat format : kFormats) {
    const LatentRows rows({format, 96, 16}, 150, 17);
    for (const size_t n_heads : Sizes{1, 6, 20, 128}) {
      const size_t n_queries = n_heads == 1 ? 130 : 3;
      const Problem block = make_problem(rows, iota_list(150), n_heads, n_queries, 18);
      const Result together = run(block);
      for (size_t i = 0; i < n_queries; ++i) {
        Problem one = block;
        one.n_queries = 1;
        one.q.assign(block.q.begin() + static_cast<ptrdiff_t>(i * n_heads * block.d()),
                     block.q.begin() + static_cast<ptrdiff_t>((i + 1) * n_heads * block.d()));
        const Result alone = run(one);
        ASSERT_TRUE(same_bits(alone.out, together.out.data() + i * alone.out.size())) << n_heads;
        ASSERT_TRUE(same_bits(alone.lse, together.lse.data() + i * alone.lse.size())) << n_heads;
      }
    }
  }
}

TEST_P(Attend, IgnoresNanInRowsThatAreNotListed) {
  for (const CacheFormat format : kFormats) {
    LatentRows rows({format, 64, 16}, 130, 19);
    for (size_t r = 0; r < 130; r += 2)
      rows.fill_with_nan(r);
    std::vector<int32_t> list;
    for (int32_t r = 1; r < 130; r += 2)
      list.insert(list.end(), {r, -1});
    const Problem problem = make_problem(rows, list, 4, 1, 20);
    expect_oracle(problem, run(problem));
  }
}

TEST_P(Attend, KeepsNanAndInfinityFromQueriesThatDoNotSeeTheRow) {
  for (const CacheFormat format : kFormats) {
    for (const size_t n_heads : Sizes{1, 6, 16}) {
      LatentRows rows({format, 64, 16}, 100, 21);
      rows.fill_with_nan(7);
      if (format != CacheFormat::kFp8) rows.set(70, 3, kInf);
      Problem problem = make_problem(rows, iota_list(100), n_heads, 3, 22);
      hide_at_random(problem, 23);
      for (size_t i = 0; i < 3; ++i) {
        problem.visible[2 * i] &= ~(1ULL << 7);
        problem.visible[2 * i + 1] &= ~(1ULL << 6);
      }
      problem.visible[2] |= 1ULL << 7;  // the second query alone sees the NaN
      const Result result = run(problem);
      const size_t width = n_heads * 64;
      for (size_t i = 0; i < width; ++i) {
        ASSERT_TRUE(std::isnan(result.out[width + i])) << i;
        ASSERT_FALSE(std::isnan(result.out[i])) << i;
        ASSERT_FALSE(std::isnan(result.out[2 * width + i])) << i;
      }
      for (size_t h = 0; h < n_heads; ++h) {
        expect_head(problem, result, oracle(problem, 0, h), h, 0);
        EXPECT_TRUE(std::isnan(result.lse[n_heads + h]));
        expect_head(problem, result, oracle(problem, 2, h), 2 * n_heads + h, 0);
      }
    }
  }
}

TEST_P(Attend, HandlesScalesThatAreNotPowersOfTwo) {
  LatentRows rows({CacheFormat::kFp8, 200, 16}, 100, 24);
  for (size_t r = 0; r < 100; ++r) {
    rows.set_scale(r, 0, 0.3F + 0.01F * static_cast<float>(r));
    rows.set_scale(r, 1, 1.7F);
  }
  const Problem problem = make_problem(rows, iota_list(100), 6, 1, 25);
  expect_oracle(problem, run(problem), kBf16Rounding);
}

TEST_P(Attend, StaysFiniteForLogitsFarApart) {
  for (const CacheFormat format : kFormats) {
    const LatentRows rows({format, 64, 16}, 150, 26);
    Problem problem = make_problem(rows, iota_list(150), 4, 1, 27);
    problem.scale = 40;
    expect_oracle(problem, run(problem));
    problem.scale = -2;
    expect_oracle(problem, run(problem));
    problem.scale = 0;
    expect_oracle(problem, run(problem));
  }
}

DSA_INSTANTIATE_TIERS(Attend);

class MergeAttention : public TierTest {};

TEST_P(MergeAttention, OfPartsOfAListEqualsAttentionOverTheList) {
  std::mt19937 random(30);
  std::normal_distribution<float> normal;
  for (const size_t d : Sizes{1, 7, 16, 33, 512}) {
    for (const size_t n_parts : Sizes{1, 2, 5}) {
      constexpr size_t kHeads = 3;
      std::vector<float> outs(n_parts * kHeads * d);
      std::vector<float> lses(n_parts * kHeads);
      for (float& x : outs)
        x = normal(random);
      for (float& x : lses)
        x = 20 * normal(random);
      if (n_parts > 1) lses[1] = -kInf;
      std::vector<float> out(kHeads * d + 16, kCanary);
      std::vector<float> lse(kHeads + 16, kCanary);
      kernels().attention->merge(outs.data(), lses.data(), n_parts, kHeads, d, out.data(),
                                 lse.data());
      for (size_t h = 0; h < kHeads; ++h) {
        long double sum = 0;
        for (size_t p = 0; p < n_parts; ++p)
          sum += std::exp(static_cast<long double>(lses[p * kHeads + h]));
        const double want_lse = static_cast<double>(std::log(sum));
        EXPECT_LE(std::fabs(static_cast<double>(lse[h]) - want_lse),
                  1e-6 + 0x1p-22 * std::fabs(want_lse));
        for (size_t c = 0; c < d; ++c) {
          double want = 0;
          double magnitude = 0;
          for (size_t p = 0; p < n_parts; ++p) {
            const double weight =
                static_cast<double>(std::exp(static_cast<long double>(lses[p * kHeads + h])) / sum);
            const double value = static_cast<double>(outs[(p * kHeads + h) * d + c]);
            want += weight * value;
            magnitude += weight * std::fabs(value);
          }
          // The f32 lse itself, at most 100 here, is rounded: 100 * 2^-24, twice.
          ASSERT_LE(std::fabs(static_cast<double>(out[h * d + c]) - want), 2e-5 * magnitude);
        }
      }
      for (size_t i = kHeads * d; i < out.size(); ++i)
        EXPECT_EQ(out[i], kCanary);
      for (size_t i = kHeads; i < lse.size(); ++i)
        EXPECT_EQ(lse[i], kCanary);
    }
  }
}

TEST_P(MergeAttention, GivesZeroAndMinusInfinityWhenEveryPartIsEmpty) {
  const std::vector<float> outs(2 * 2 * 5, std::nanf(""));  // never weighed in
  const std::vector<float> lses(2 * 2, -kInf);
  std::vector<float> out(2 * 5, kCanary);
  std::vector<float> lse(2, kCanary);
  kernels().attention->merge(outs.data(), lses.data(), 2, 2, 5, out.data(), lse.data());
  EXPECT_EQ(out, std::vector<float>(10, 0.0F));
  EXPECT_EQ(lse, std::vector<float>(2, -kInf));
}

DSA_INSTANTIATE_TIERS(MergeAttention);

}  // namespace
}  // namespace dsa::kernels
