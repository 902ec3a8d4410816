// A program outside the project: selects, attends, and fails when the numbers are wrong.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "dsa/attention.h"
#include "dsa/thread_pool.h"

int main() {
  const std::array<float, 5> scores = {0.5F, 2.0F, -1.0F, 2.0F, 1.0F};
  std::array<int32_t, 2> selected = {};
  const auto n_selected = dsa::select_top_k(scores, 2, selected);
  if (!n_selected.ok() || *n_selected != 2 || selected[0] != 1 || selected[1] != 3) return 1;

  // Two equal keys: attention gives the mean of their values.
  constexpr int64_t kLatent = 4;
  constexpr int64_t kRope = 2;
  const auto format = dsa::CacheFormat::kF32;
  const auto row_bytes = static_cast<size_t>(dsa::latent_row_bytes(format, kLatent, kRope));
  std::vector<uint8_t> cache(2 * row_bytes);
  const std::array<float, kLatent> first = {0, 1, 2, 3};
  const std::array<float, kLatent> second = {0, 3, 4, 5};
  const std::array<float, kRope> rope = {1, 1};
  const std::span<uint8_t> rows(cache);
  if (!dsa::write_latent_row(format, first, rope, rows.first(row_bytes)).ok()) return 1;
  if (!dsa::write_latent_row(format, second, rope, rows.subspan(row_bytes)).ok()) return 1;

  const std::array<float, kLatent + kRope> q = {1, 0, 0, 0, 1, 1};  // sees only equal elements
  const std::array<int32_t, 2> both = {0, 1};
  std::array<float, kLatent> out = {};
  dsa::ThreadPool pool(2);
  const dsa::Status status = dsa::sparse_attention({.format = format,
                                                    .d_latent = kLatent,
                                                    .d_rope = kRope,
                                                    .cache = cache,
                                                    .rows = both,
                                                    .n_rows = 2,
                                                    .q = q,
                                                    .n_queries = 1,
                                                    .n_heads = 1,
                                                    .scale = 1.0F,
                                                    .out = out,
                                                    .lse = {}},
                                                   pool);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    return 1;
  }
  const std::array<float, kLatent> want = {0, 2, 3, 4};
  for (size_t i = 0; i < want.size(); ++i) {
    if (!(std::fabs(out[i] - want[i]) <= 1e-6F)) return 1;
  }
  std::puts("the installed library attends correctly");
  return 0;
}
