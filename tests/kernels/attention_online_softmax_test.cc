#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <random>
#include <vector>

#include "kernels/kernel_table.h"
#include "tests/kernels/tiers.h"

namespace dsa::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
using Sizes = std::initializer_list<size_t>;

constexpr float kCanary = 12345.0F;

// exp to 2.4e-7 of its value, its argument (at most 40 here) to 2^-24 of that; the running sums
// add n roundings.
double weight_tolerance(size_t n) {
  return 2.4e-7 + static_cast<double>(n + 48) * 0x1p-24;
}

// State of m rows, folded tile by tile as a caller would.
struct Rows {
  Rows(size_t m, size_t width)
      : row_max(m, -kInf), row_sum(m, 0), acc(m * (width + 3), 0), d_v(width) {}

  std::vector<float> row_max;
  std::vector<float> row_sum;
  std::vector<float> acc;  // row stride d_v + 3
  size_t d_v;
};

class OnlineSoftmax : public TierTest {
 protected:
  // Folds one tile in and adds p V for V = (1, 2, 3, ...) down the keys in every column.
  static void fold(Rows& rows,
                   std::vector<float>& s,
                   size_t n,
                   float scale,
                   const std::vector<int32_t>& limit,
                   const std::vector<uint64_t>& visible,
                   size_t first_key) {
    const size_t m = rows.row_max.size();
    OnlineSoftmaxArgs args;
    args.s = s.data();
    args.ld = n + 5;
    args.m = m;
    args.n = n;
    args.scale = scale;
    args.limit = limit.empty() ? nullptr : limit.data();
    args.visible = visible.empty() ? nullptr : visible.data();
    args.visible_stride = (n + 63) / 64;
    args.row_max = rows.row_max.data();
    args.row_sum = rows.row_sum.data();
    args.acc = rows.acc.data();
    args.ld_acc = rows.d_v + 3;
    args.d_v = rows.d_v;
    kernels().attention->online_softmax(args);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = n; j < n + 5; ++j)
        ASSERT_EQ(s[i * args.ld + j], kCanary);
      for (size_t j = 0; j < n; ++j) {
        for (size_t c = 0; c < rows.d_v; ++c) {
          rows.acc[i * args.ld_acc + c] += s[i * args.ld + j] * static_cast<float>(first_key + j);
        }
      }
    }
  }

  static std::vector<float> tile(size_t m, size_t n, std::mt19937& random) {
    std::normal_distribution<float> normal;
    std::vector<float> s(m * (n + 5), kCanary);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < n; ++j)
        s[i * (n + 5) + j] = 8 * normal(random);
    }
    return s;
  }
};

TEST_P(OnlineSoftmax, OverTilesEqualsSoftmaxOverTheRow) {
  std::mt19937 random(1);
  constexpr size_t kRows = 3;
  constexpr float kScale = 0.7F;
  for (const size_t n : Sizes{1, 7, 15, 16, 17, 64, 100}) {
    Rows rows(kRows, 19);
    std::vector<std::vector<double>> logits(kRows);
    for (size_t t = 0; t < 3; ++t) {
      std::vector<float> s = tile(kRows, n, random);
      for (size_t i = 0; i < kRows; ++i) {
        for (size_t j = 0; j < n; ++j) {
          logits[i].push_back(static_cast<double>(s[i * (n + 5) + j] * kScale));
        }
      }
      fold(rows, s, n, kScale, {}, {}, t * n);
    }
    for (size_t i = 0; i < kRows; ++i) {
      const double top = *std::max_element(logits[i].begin(), logits[i].end());
      double sum = 0;
      double weighted = 0;
      for (size_t j = 0; j < logits[i].size(); ++j) {
        sum += std::exp(logits[i][j] - top);
        weighted += std::exp(logits[i][j] - top) * static_cast<double>(j);
      }
      EXPECT_EQ(static_cast<double>(rows.row_max[i]), top);
      EXPECT_LE(std::fabs(static_cast<double>(rows.row_sum[i]) - sum),
                weight_tolerance(3 * n) * sum);
      for (size_t c = 0; c < 19; ++c) {
        ASSERT_LE(std::fabs(static_cast<double>(rows.acc[i * 22 + c]) - weighted),
                  weight_tolerance(3 * n) * weighted);
      }
    }
  }
}

TEST_P(OnlineSoftmax, IgnoresWhatLiesBeyondTheLimitOrIsHidden) {
  std::mt19937 random(2);
  constexpr size_t kN = 100;
  const std::vector<int32_t> limits = {-3, 0, 1, 37, 64, 99, 100, 1000};
  std::vector<float> s = tile(limits.size(), kN, random);
  const std::vector<float> before = s;
  std::vector<uint64_t> visible(limits.size() * 2);
  for (uint64_t& word : visible)
    word = (random() << 32) | random();
  for (size_t i = 0; i < limits.size(); ++i) {  // what is masked must not matter
    for (size_t j = 0; j < kN; ++j) {
      const bool seen =
          static_cast<int32_t>(j) < limits[i] && (visible[i * 2 + j / 64] >> (j % 64) & 1);
      if (!seen) s[i * (kN + 5) + j] = j % 2 ? kNan : kInf;
    }
  }
  Rows rows(limits.size(), 4);
  fold(rows, s, kN, 0.5F, limits, visible, 0);
  for (size_t i = 0; i < limits.size(); ++i) {
    double top = -std::numeric_limits<double>::infinity();
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t j = 0; j < kN; ++j) {
        const bool seen =
            static_cast<int32_t>(j) < limits[i] && (visible[i * 2 + j / 64] >> (j % 64) & 1);
        const double logit = static_cast<double>(before[i * (kN + 5) + j] * 0.5F);
        if (pass == 0) {
          if (seen) top = std::max(top, logit);
        } else {
          const double want = seen ? std::exp(logit - top) : 0;
          // The f32 difference logit - top is rounded before exp sees it.
          const double relative = 2.4e-7 + 0x1p-24 * std::fabs(logit - top);
          ASSERT_LE(std::fabs(static_cast<double>(s[i * (kN + 5) + j]) - want),
                    (seen ? relative * want : 0) + 1e-37);
        }
      }
    }
    EXPECT_EQ(static_cast<double>(rows.row_max[i]), top);
  }
}

TEST_P(OnlineSoftmax, LeavesTheStateAloneWhenATileIsWhollyMasked) {
  std::mt19937 random(3);
  Rows rows(2, 5);
  std::vector<float> masked = tile(2, 20, random);
  fold(rows, masked, 20, 1.0F, {0, -1}, {}, 0);
  EXPECT_EQ(rows.row_max, std::vector<float>(2, -kInf));
  EXPECT_EQ(rows.row_sum, std::vector<float>(2, 0.0F));
  std::vector<float> s = tile(2, 20, random);
  fold(rows, s, 20, 1.0F, {}, {}, 0);
  const Rows before = rows;
  masked = tile(2, 20, random);
  fold(rows, masked, 20, 1.0F, {0, 0}, {}, 0);
  EXPECT_EQ(rows.row_max, before.row_max);
  EXPECT_EQ(rows.row_sum, before.row_sum);
  EXPECT_EQ(rows.acc, before.acc);
}

TEST_P(OnlineSoftmax, GivesNanToARowThatSeesNan) {
  std::mt19937 random(4);
  std::vector<float> s = tile(2, 20, random);
  s[3] = kNan;
  Rows rows(2, 5);
  fold(rows, s, 20, 1.0F, {}, {}, 0);
  EXPECT_TRUE(std::isnan(rows.row_sum[0]));
  EXPECT_FALSE(std::isnan(rows.row_sum[1]));
}

DSA_INSTANTIATE_TIERS(OnlineSoftmax);

}  // namespace
}  // namespace dsa::kernels
