#include "ops/mla.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "dsa/thread_pool.h"

#include "tests/kernels/tiers.h"

namespace dsa {
namespace {

// More than one group of heads, more rows than one part of a list, more keys than one tile.
constexpr MlaDims kDims = {70, 32, 8, 16, 16, 0.2F};
constexpr size_t kContext = 1500;
constexpr PageSize kPage;
constexpr size_t kPerHead = kDims.d_nope + kDims.d_v;

std::vector<float> normal_values(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

struct Case {
  size_t n_queries;
  size_t top_k;  // 0: every query sees all positions up to its own
  bool own_rows;
  CacheFormat format;
};

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return std::to_string(c.n_queries) + "queries_top" + std::to_string(c.top_k) +
         (c.own_rows ? "_own_" : "_cached_") + cache_format_name(c.format);
}

// W_UK of each head transposed and W_UV, in matrices of their own.
struct Apart {
  std::vector<float> uk;  // [n_heads, d_latent, d_nope]
  std::vector<float> uv;  // [n_heads, d_v, d_latent]

  explicit Apart(const std::vector<float>& together) {
    for (size_t h = 0; h < kDims.n_heads; ++h) {
      const float* head = together.data() + h * kPerHead * kDims.d_latent;
      for (size_t d = 0; d < kDims.d_latent; ++d) {
        for (size_t i = 0; i < kDims.d_nope; ++i)
          uk.push_back(head[i * kDims.d_latent + d]);
      }
      const float* values = head + kDims.d_nope * kDims.d_latent;
      uv.insert(uv.end(), values, values + kDims.d_v * kDims.d_latent);
    }
  }

  MlaWeights weights() const {
    const size_t n = kDims.n_heads;
    const Weight k = Weight::dense(DType::kF32, uk.data(), n * kDims.d_latent, kDims.d_nope);
    const Weight v = Weight::dense(DType::kF32, uv.data(), n * kDims.d_v, kDims.d_latent);
    return {{k, 0, kDims.d_latent, kDims.d_latent, true}, {v, 0, kDims.d_v, kDims.d_v, false}};
  }
};

// A layer's cache of kContext rows; the queries are its last tokens.
class Mla : public testing::TestWithParam<Case> {
 protected:
  Mla()
      : layout_{GetParam().format, kDims.d_latent, kDims.d_rope},
        w_(normal_values(kDims.n_heads * kPerHead * kDims.d_latent, 1)),
        q_(normal_values(n_queries() * kDims.n_heads * kDims.d_q(), 2)),
        rows_(kContext * kDims.d_row()) {
    const std::vector<float> values = normal_values(rows_.size(), 3);
    cache_.resize((kContext + kPage.tokens()) * layout_.row_bytes());
    pages_.resize(kPage.pages(kContext));
    std::iota(pages_.rbegin(), pages_.rend(), 0);
    for (size_t t = 0; t < kContext; ++t) {
      const float* latent = values.data() + t * kDims.d_row();
      uint8_t* row = view().row_address(t);
      const auto& vector = *kernels::scalar_table().vector;
      store_latent_row(vector, layout_, latent, latent + kDims.d_latent, row);
      load_latent_row(vector, layout_, row, rows_.data() + t * kDims.d_row());
    }
    for (float& value : w_)
      value *= 0.2F;
  }

  size_t n_queries() const { return GetParam().n_queries; }
  size_t first_position() const { return kContext - n_queries(); }
  LatentCacheView view() { return {layout_, cache_.data(), pages_}; }

  // The selection: a random part of what each query sees, its own position included.
  void select(size_t top_k) {
    std::mt19937 random(4);
    for (size_t i = 0; i < n_queries(); ++i) {
      std::vector<int32_t> all(first_position() + i);
      std::iota(all.begin(), all.end(), 0);
      std::vector<int32_t> row;
      std::sample(all.begin(), all.end(), std::back_inserter(row), top_k - 1, random);
      row.push_back(static_cast<int32_t>(all.size()));
      positions_.insert(positions_.end(), row.begin(), row.end());
      counts_.push_back(static_cast<int32_t>(row.size()));
    }
  }

  // softmax over the listed rows of the expanded keys, times the expanded values, in float64.
  std::vector<double> expected(size_t i, size_t h) const {
    std::vector<int32_t> visible(first_position() + i + 1);
    std::iota(visible.begin(), visible.end(), 0);
    if (!counts_.empty()) {
      const auto begin = positions_.begin() + static_cast<std::ptrdiff_t>(i * GetParam().top_k);
      visible.assign(begin, begin + counts_[i]);
    }
    const float* q = q_.data() + (i * kDims.n_heads + h) * kDims.d_q();
    const float* w = w_.data() + h * kPerHead * kDims.d_latent;
    double sum = 0;
    std::vector<double> out(kDims.d_v);
    for (const int32_t position : visible) {
      const float* row = rows_.data() + static_cast<size_t>(position) * kDims.d_row();
      double logit = 0;
      for (size_t d = 0; d < kDims.d_nope; ++d)
        logit += static_cast<double>(q[d]) * dot(w + d * kDims.d_latent, row);
      for (size_t d = 0; d < kDims.d_rope; ++d)
        logit +=
            static_cast<double>(q[kDims.d_nope + d]) * static_cast<double>(row[kDims.d_latent + d]);
      const double weight = std::exp(static_cast<double>(kDims.scale) * logit);
      sum += weight;
      for (size_t d = 0; d < kDims.d_v; ++d)
        out[d] += weight * dot(w + (kDims.d_nope + d) * kDims.d_latent, row);
    }
    for (double& value : out)
      value /= sum;
    return out;
  }

  static double dot(const float* a, const float* b) {
    double sum = 0;
    for (size_t d = 0; d < kDims.d_latent; ++d)
      sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
    return sum;
  }

  std::vector<float> run(const kernels::KernelTable* table,
                         int n_threads,
                         bool stored_apart = false) {
    ThreadPool pool(n_threads);
    const OpContext context = {table, &pool};
    MlaScratch scratch;
    ScratchPlan plan;
    scratch.plan(context, kDims, layout_, {},
                 {n_queries(), kContext, std::max<size_t>(GetParam().top_k, 1)}, &plan);
    const AlignedBuffer memory = plan.allocate("test").value();
    const void* data = w_.data();
    MlaWeights weights =
        split_kv_up(Weight::dense(DType::kF32, data, kDims.n_heads * kPerHead, kDims.d_latent),
                    kDims.d_nope, kDims.d_v);
    const Apart apart(w_);
    if (stored_apart) weights = apart.weights();
    const float* own = rows_.data() + first_position() * kDims.d_row();
    const MlaQueries queries = {{q_.data(), nullptr, kDims.n_heads * kDims.d_q()},
                                n_queries(),
                                first_position(),
                                GetParam().own_rows ? own : nullptr};
    SelectionLists lists;
    if (!counts_.empty()) lists = {positions_.data(), counts_.data(), GetParam().top_k};
    std::vector<float> out(n_queries() * kDims.n_heads * kDims.d_v);
    mla_attention(context, {kDims, queries, weights, view(), lists, &scratch, out.data()});
    return out;
  }

  LatentLayout layout_;
  std::vector<float> w_;     // [n_heads, d_nope + d_v, d_latent]
  std::vector<float> q_;     // [n_queries, n_heads, d_q]
  std::vector<float> rows_;  // [kContext, d_row] as the cache gives them back
  std::vector<uint8_t> cache_;
  std::vector<int32_t> pages_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> counts_;
};

TEST_P(Mla, AgreesWithTheExpandedFormInFloat64OnEveryTierAndAnyNumberOfThreads) {
  if (GetParam().top_k > 0) select(GetParam().top_k);
  for (const kernels::KernelTable* table : kernels::runnable_tables()) {
    SCOPED_TRACE(table->tier_name);
    const std::vector<float> out = run(table, 1);
    EXPECT_EQ(out, run(table, 3));
    // Queries and weights of cached rows may be rounded to bf16; logits are of the order of 1.
    const double tolerance = GetParam().format == CacheFormat::kF32 ? 1e-5 : 3e-2;
    for (const size_t i : {size_t{0}, n_queries() / 2, n_queries() - 1}) {
      for (const size_t h : {size_t{0}, size_t{63}, size_t{64}, size_t{69}}) {
        const std::vector<double> want = expected(i, h);
        for (size_t d = 0; d < kDims.d_v; ++d) {
          const auto got = static_cast<double>(out[(i * kDims.n_heads + h) * kDims.d_v + d]);
          ASSERT_LE(std::abs(got - want[d]), tolerance) << "query " << i << " head " << h;
        }
      }
    }
  }
}

TEST_P(Mla, TakesWUkTransposedAndWUvApart) {
  if (GetParam().top_k > 0) select(GetParam().top_k);
  const std::vector<float> together = run(kernels::chosen_table(), 2);
  const std::vector<float> apart = run(kernels::chosen_table(), 2, true);
  // Another order of sums, which decides how a query or weight is rounded to bf16; logits are of
  // the order of 1.
  const float tolerance = GetParam().format == CacheFormat::kF32 ? 1e-5F : 3e-3F;
  for (size_t i = 0; i < apart.size(); ++i)
    ASSERT_NEAR(apart[i], together[i], tolerance) << "element " << i;
}

INSTANTIATE_TEST_SUITE_P(Steps,
                         Mla,
                         testing::Values(Case{1, 600, false, CacheFormat::kF32},
                                         Case{1, 0, false, CacheFormat::kF32},
                                         Case{2, 600, true, CacheFormat::kF32},
                                         Case{33, 600, true, CacheFormat::kF32},
                                         Case{33, 600, false, CacheFormat::kF32},
                                         Case{33, 40, true, CacheFormat::kF32},
                                         Case{65, 1300, true, CacheFormat::kF32},
                                         Case{65, 0, true, CacheFormat::kF32},
                                         Case{2, 0, true, CacheFormat::kF32},
                                         Case{33, 600, true, CacheFormat::kFp8},
                                         Case{33, 600, true, CacheFormat::kBF16},
                                         Case{1, 600, false, CacheFormat::kFp8},
                                         Case{65, 0, false, CacheFormat::kBF16}),
                         name_of);

}  // namespace
}  // namespace dsa
