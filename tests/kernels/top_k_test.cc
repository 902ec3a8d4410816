#include "reference/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"
#include "tests/kernels/tiers.h"

namespace dsa::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int32_t kCanary = -77;

class TopK : public TierTest {
 protected:
  // Runs the kernel with canaries behind the output and behind the scratch it asked for.
  static std::vector<int32_t> select(const float* scores, size_t n, size_t k) {
    const IndexerKernels& indexer = *kernels().indexer;
    const size_t scratch_bytes = indexer.top_k_scratch_bytes(n, k);
    constexpr size_t kLine = 64;
    std::vector<uint8_t> scratch(scratch_bytes + 2 * kLine, 0x5A);
    void* aligned = scratch.data();
    size_t space = scratch.size();
    std::align(kLine, scratch_bytes + 1, aligned, space);
    std::vector<int32_t> out(std::min(n, k) + 32, kCanary);
    const size_t count = indexer.top_k(scores, n, k, out.data(), aligned);
    EXPECT_EQ(count, std::min(n, k));
    for (size_t i = std::min(n, k); i < out.size(); ++i) {
      EXPECT_EQ(out[i], kCanary) << "written past the end, at " << i;
    }
    const uint8_t* behind = static_cast<const uint8_t*>(aligned) + scratch_bytes;
    for (; behind < scratch.data() + scratch.size(); ++behind) {
      EXPECT_EQ(*behind, 0x5A) << "scratch written past its end";
    }
    out.resize(std::min(count, std::min(n, k)));
    return out;
  }

  static void expect_exact(const std::vector<float>& scores, size_t k, const std::string& what) {
    ASSERT_EQ(select(scores.data(), scores.size(), k), reference::top_k(scores, k))
        << what << ", n " << scores.size() << ", k " << k;
  }
};

struct Distribution {
  const char* name;
  std::function<float(size_t i, size_t n, std::mt19937& random)> value;
};

float near_tie(size_t low_bits) {  // differs from 1.0 in the 10 last bits alone
  return std::bit_cast<float>(0x3F800000U | static_cast<uint32_t>(low_bits & 1023U));
}

const std::vector<Distribution>& distributions() {
  using Random = std::mt19937;
  static const std::vector<Distribution> all = {
      {"normal", [](size_t, size_t, Random& r) { return std::normal_distribution<float>()(r); }},
      {"all equal", [](size_t, size_t, Random&) { return 0.25F; }},
      {"all zero of either sign", [](size_t, size_t, Random& r) { return r() % 2 ? 0.0F : -0.0F; }},
      {"ascending", [](size_t i, size_t, Random&) { return static_cast<float>(i) - 50.0F; }},
      {"descending", [](size_t i, size_t, Random&) { return 50.0F - static_cast<float>(i); }},
      {"few values", [](size_t, size_t, Random& r) { return static_cast<float>(r() % 3) - 1.0F; }},
      {"mostly one value",
       [](size_t, size_t, Random& r) { return r() % 8 ? 0.0F : static_cast<float>(r() % 5); }},
      {"negative",
       [](size_t, size_t, Random& r) { return -1.0F - static_cast<float>(r() % 9999); }},
      {"half NaN",
       [](size_t, size_t, Random& r) { return r() % 2 ? kNan : static_cast<float>(r() % 99); }},
      {"nearly all NaN",
       [](size_t, size_t, Random& r) { return r() % 64 ? kNan : static_cast<float>(r() % 9); }},
      {"all NaN of either sign", [](size_t, size_t, Random& r) { return r() % 2 ? kNan : -kNan; }},
      {"all -inf", [](size_t, size_t, Random&) { return -kInf; }},
      {"-inf and NaN", [](size_t, size_t, Random& r) { return r() % 2 ? -kInf : kNan; }},
      {"infinities",
       [](size_t i, size_t, Random& r) {
         return r() % 3 == 0 ? kInf : r() % 2 ? -kInf : static_cast<float>(i % 7);
       }},
      {"denormals",
       [](size_t, size_t, Random& r) {
         return static_cast<float>(static_cast<int>(r() % 41) - 20) * 0x1p-149F;
       }},
      {"near ties", [](size_t, size_t, Random& r) { return near_tie(r()); }},
      {"period of the groups", [](size_t i, size_t, Random&) { return near_tie(i % 192); }},
      {"rising steps",
       [](size_t i, size_t n, Random&) { return static_cast<float>(i * 8 / (n + 1)); }},
  };
  return all;
}

TEST_P(TopK, EqualsAStableSortOnEveryDistribution) {
  const size_t lengths[] = {1, 2, 15, 16, 17, 63, 64, 65, 130, 1000, 4096, 5003};
  for (const Distribution& distribution : distributions()) {
    std::mt19937 random(7);
    for (const size_t n : lengths) {
      std::vector<float> scores(n);
      for (size_t i = 0; i < n; ++i)
        scores[i] = distribution.value(i, n, random);
      for (const size_t k : {size_t{1}, size_t{2}, n / 16, n / 5, n / 2, n - 1, n, n + 3}) {
        expect_exact(scores, k, distribution.name);
      }
    }
  }
}

TEST_P(TopK, IsExactAtTheSizesOfTheModels) {
  for (const Distribution& distribution : distributions()) {
    std::mt19937 random(11);
    std::vector<float> scores(40961);
    for (size_t i = 0; i < scores.size(); ++i) {
      scores[i] = distribution.value(i, scores.size(), random);
    }
    expect_exact(scores, 2048, distribution.name);
  }
}

TEST_P(TopK, SelectsNothingForABudgetOfZero) {
  const std::vector<float> scores = {1, 2, 3};
  EXPECT_TRUE(select(scores.data(), scores.size(), 0).empty());
  EXPECT_TRUE(select(scores.data(), 0, 5).empty());
}

TEST_P(TopK, SelectsEverythingWhenTheBudgetAllows) {
  const std::vector<float> scores = {kNan, -kInf, 0, 3, kNan};
  const std::vector<int32_t> all = {0, 1, 2, 3, 4};
  EXPECT_EQ(select(scores.data(), scores.size(), 5), all);
  EXPECT_EQ(select(scores.data(), scores.size(), 500), all);
}

TEST_P(TopK, PrefersTheGreaterIndexAmongEqualScores) {
  const std::vector<float> scores = {0.0F, 1, -0.0F, 0.0F, -1, -0.0F};
  EXPECT_EQ(select(scores.data(), scores.size(), 3), (std::vector<int32_t>{1, 3, 5}));
}

TEST_P(TopK, TakesNanOnlyWhenNothingElseIsLeft) {
  const std::vector<float> scores = {kNan, -kInf, kNan, 5, kNan};
  EXPECT_EQ(select(scores.data(), scores.size(), 2), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(select(scores.data(), scores.size(), 4), (std::vector<int32_t>{1, 2, 3, 4}));
}

TEST_P(TopK, ReadsScoresAtAnyAlignment) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> buffer(3000 + 16);
  for (float& x : buffer)
    x = normal(random);
  for (size_t offset = 0; offset < 16; ++offset) {
    const std::vector<float> scores(buffer.begin() + static_cast<ptrdiff_t>(offset),
                                    buffer.begin() + static_cast<ptrdiff_t>(offset + 3000));
    EXPECT_EQ(select(buffer.data() + offset, 3000, 100), reference::top_k(scores, 100));
  }
}

DSA_INSTANTIATE_TIERS(TopK);

}  // namespace
}  // namespace dsa::kernels
