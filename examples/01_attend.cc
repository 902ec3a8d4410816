// Sparse attention on memory of our own, no model involved: write paged caches, score every cached
// token with the indexer, keep the best k, attend to those rows, and compare with plain loops.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "dsa/ops.h"
#include "dsa/thread_pool.h"

#include "check.h"

namespace {

constexpr int32_t kTokens = 1000;
constexpr int64_t kPages = (kTokens + 63) / 64;
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

Floats naive_attention(const Floats& q,
                       const Floats& latents,
                       const Floats& ropes,
                       std::span<const int32_t> tokens) {
  Floats out;
  for (int64_t head = 0; head < kHeads; ++head) {
    std::vector<double> sum(kLatent);
    double denominator = 0;
    for (const int32_t token : tokens) {
      const auto latent = row(latents, token, kLatent);
      const auto query = row(q, head, kRow);
      const double p = std::exp(
          static_cast<double>(kScale) *
          (dot(query.first(kLatent), latent) + dot(query.last(kRope), row(ropes, token, kRope))));
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
  const Floats latents = random_floats(kTokens * kLatent, random);
  const Floats ropes = random_floats(kTokens * kRope, random);
  const Floats q = random_floats(kHeads * kRow, random);

  // Token t is in page pages[t / 64]: the last page holds the first tokens here.
  std::vector<int32_t> pages(kPages);
  std::iota(pages.rbegin(), pages.rend(), 0);
  std::vector<int64_t> slots(kTokens);
  for (size_t token = 0; token < slots.size(); ++token)
    slots[token] = pages[token / 64] * int64_t{64} + static_cast<int64_t>(token % 64);
  std::vector<uint8_t> key_pages(
      static_cast<size_t>(kPages * dsa::index_page_bytes(kFormat, kIndexDim)));
  std::vector<uint8_t> latent_pages(
      static_cast<size_t>(kPages * 64 * dsa::latent_row_bytes(kFormat, kLatent, kRope)));
  const dsa::MutablePagedView key_cache = {.data = key_pages.data(), .n_pages = kPages};
  const dsa::MutablePagedView latent_cache = {.data = latent_pages.data(), .n_pages = kPages};

  dsa::ThreadPool pool(0);
  dsa::Workspace workspace;
  check(dsa::write_index_keys(
      {.format = kFormat, .dim = kIndexDim, .keys = index_keys, .slots = slots, .cache = key_cache},
      pool));
  check(dsa::write_latent_rows({.format = kFormat,
                                .d_latent = kLatent,
                                .d_rope = kRope,
                                .latent = latents,
                                .rope = ropes,
                                .slots = slots,
                                .cache = latent_cache},
                               pool));

  // A batch of one sequence with one query, which sees all of its tokens.
  const std::vector<int32_t> query_start = {0, 1};
  const std::vector<int32_t> lengths = {kTokens};
  const dsa::SequenceBatch batch = {
      .query_start = query_start, .lengths = lengths, .block_tables = pages, .max_blocks = kPages};
  Floats scores(kTokens);
  check(dsa::index_scores({.format = kFormat,
                           .n_heads = kIndexHeads,
                           .dim = kIndexDim,
                           .q = index_q,
                           .weights = index_weights,
                           .keys = key_cache,
                           .batch = batch,
                           .n_scores = kTokens,
                           .out = scores},
                          pool, workspace));

  std::vector<int32_t> selected(kTopK);
  check(dsa::select_top_k(
      {.scores = scores, .n_queries = 1, .n_scores = kTokens, .k = kTopK, .out = selected}, pool,
      workspace));

  Floats out(kHeads * kLatent);
  check(dsa::sparse_attention({.format = kFormat,
                               .d_latent = kLatent,
                               .d_rope = kRope,
                               .n_heads = kHeads,
                               .n_queries = 1,
                               .scale = kScale,
                               .q = q,
                               .cache = latent_cache,
                               .rows = selected,
                               .n_rows = kTopK,
                               .batch = batch,
                               .out = out},
                              pool, workspace));

  const double score_error =
      largest_difference(scores, naive_scores(index_q, index_weights, index_keys));
  const double out_error = largest_difference(out, naive_attention(q, latents, ropes, selected));
  std::printf("%zu of %d tokens selected, the first at %d, the last at %d\n", selected.size(),
              kTokens, selected.front(), selected.back());
  std::printf("largest difference from plain loops: scores %.1e, attention %.1e\n", score_error,
              out_error);
  // f32 sums of 1024 products of size 10, and of 576 of size 1.
  return score_error <= 1e-3 && out_error <= 1e-4 ? 0 : 1;
}
