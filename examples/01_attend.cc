// Sparse attention on memory of our own, no model involved: score every cached token with the
// indexer, keep the best k, attend to those rows, and compare with plain loops.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "dsa/attention.h"
#include "dsa/thread_pool.h"

#include "check.h"

namespace {

constexpr int64_t kTokens = 1000;
constexpr int64_t kTopK = 64;
constexpr int64_t kIndexHeads = 8;
constexpr int64_t kIndexDim = 128;
constexpr int64_t kHeads = 16;
constexpr int64_t kLatent = 512;  // DeepSeek-V3.2's row: 512 of latent, 64 of rope key
constexpr int64_t kRope = 64;
constexpr int64_t kRow = kLatent + kRope;
constexpr float kScale = 0.1352338F;
constexpr auto kFormat = dsa::CacheFormat::kF32;  // exact, so that plain loops agree

using Floats = std::vector<float>;

Floats random_floats(int64_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Floats values(static_cast<size_t>(n));
  for (float& value : values)
    value = normal(random);
  return values;
}

std::span<const float> row(const Floats& matrix, int64_t index, int64_t width) {
  return std::span(matrix).subspan(static_cast<size_t>(index * width), static_cast<size_t>(width));
}

double dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

std::vector<uint8_t> write_index_pages(const Floats& keys) {
  const int64_t n_pages = (kTokens + dsa::kTokensPerPage - 1) / dsa::kTokensPerPage;
  const auto page_bytes = static_cast<size_t>(dsa::index_page_bytes(kFormat, kIndexDim));
  std::vector<uint8_t> pool(static_cast<size_t>(n_pages) * page_bytes);
  for (int64_t token = 0; token < kTokens; ++token) {
    const auto page = static_cast<size_t>(token / dsa::kTokensPerPage);
    check(dsa::write_index_key(kFormat, row(keys, token, kIndexDim), token % dsa::kTokensPerPage,
                               std::span(pool).subspan(page * page_bytes, page_bytes)));
  }
  return pool;
}

std::vector<uint8_t> write_latent_rows(const Floats& latents) {
  const auto row_bytes = static_cast<size_t>(dsa::latent_row_bytes(kFormat, kLatent, kRope));
  std::vector<uint8_t> cache(static_cast<size_t>(kTokens) * row_bytes);
  for (int64_t token = 0; token < kTokens; ++token) {
    const auto values = row(latents, token, kRow);
    check(dsa::write_latent_row(
        kFormat, values.first(kLatent), values.last(kRope),
        std::span(cache).subspan(static_cast<size_t>(token) * row_bytes, row_bytes)));
  }
  return cache;
}

Floats naive_scores(const Floats& q, const Floats& weights, const Floats& keys) {
  Floats scores;
  for (int64_t token = 0; token < kTokens; ++token) {
    double score = 0;
    for (int64_t head = 0; head < kIndexHeads; ++head) {
      const double product = dot(row(q, head, kIndexDim), row(keys, token, kIndexDim));
      score += static_cast<double>(weights[static_cast<size_t>(head)]) * std::max(product, 0.0);
    }
    scores.push_back(static_cast<float>(score));
  }
  return scores;
}

Floats naive_attention(const Floats& q, const Floats& latents, std::span<const int32_t> rows) {
  Floats out;
  for (int64_t head = 0; head < kHeads; ++head) {
    std::vector<double> sum(kLatent);
    double denominator = 0;
    for (const int32_t token : rows) {
      const auto latent = row(latents, token, kRow);
      const double p = std::exp(static_cast<double>(kScale) * dot(row(q, head, kRow), latent));
      denominator += p;
      for (size_t i = 0; i < sum.size(); ++i)
        sum[i] += p * static_cast<double>(latent[i]);
    }
    for (const double value : sum)
      out.push_back(static_cast<float>(value / denominator));
  }
  return out;
}

double largest_difference(const Floats& a, const Floats& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= largest)) largest = difference;  // a NaN stays
  }
  return largest;
}

}  // namespace

int main() {
  std::mt19937 random(1);
  const Floats index_q = random_floats(kIndexHeads * kIndexDim, random);
  const Floats index_weights = random_floats(kIndexHeads, random);
  const Floats index_keys = random_floats(kTokens * kIndexDim, random);
  const Floats latents = random_floats(kTokens * kRow, random);
  const Floats q = random_floats(kHeads * kRow, random);

  const std::vector<uint8_t> index_pool = write_index_pages(index_keys);
  const std::vector<uint8_t> cache = write_latent_rows(latents);
  std::vector<int32_t> pages((kTokens + dsa::kTokensPerPage - 1) / dsa::kTokensPerPage);
  std::iota(pages.begin(), pages.end(), 0);
  dsa::ThreadPool pool(0);

  Floats scores(kTokens);
  check(dsa::index_scores({.format = kFormat,
                           .q = index_q,
                           .weights = index_weights,
                           .n_queries = 1,
                           .n_heads = kIndexHeads,
                           .dim = kIndexDim,
                           .pool = index_pool,
                           .pages = pages,
                           .n_keys = kTokens,
                           .out = scores},
                          pool));

  std::vector<int32_t> selected(kTopK);
  const int64_t n_selected = check(dsa::select_top_k(scores, kTopK, selected));

  Floats out(kHeads * kLatent);
  check(dsa::sparse_attention({.format = kFormat,
                               .d_latent = kLatent,
                               .d_rope = kRope,
                               .cache = cache,
                               .rows = selected,
                               .n_rows = n_selected,
                               .q = q,
                               .n_queries = 1,
                               .n_heads = kHeads,
                               .scale = kScale,
                               .out = out,
                               .lse = {}},
                              pool));

  const double score_error =
      largest_difference(scores, naive_scores(index_q, index_weights, index_keys));
  const double out_error = largest_difference(out, naive_attention(q, latents, selected));
  std::printf("%lld of %lld tokens selected, the first at %d, the last at %d\n",
              static_cast<long long>(n_selected), static_cast<long long>(kTokens), selected.front(),
              selected.back());
  std::printf("largest difference from plain loops: scores %.1e, attention %.1e\n", score_error,
              out_error);
  // f32 sums of 1024 products of size 10, and of 576 of size 1.
  return score_error <= 1e-3 && out_error <= 1e-4 ? 0 : 1;
}
