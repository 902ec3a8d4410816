// A program outside the project that uses the component `ops`: selects, attends, and fails when the
// numbers are wrong.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "dsa/cpu.h"
#include "dsa/ops.h"
#include "dsa/thread_pool.h"
#include "dsa/version.h"

namespace {

// An executor of our own: the library calls what it does not define.
class OneThread final : public dsa::Executor {
 public:
  int n_threads() const override { return 1; }
  void parallel_for(int64_t n_items,
                    const std::function<void(int64_t item, int worker)>& fn) override {
    for (int64_t item = 0; item < n_items; ++item)
      fn(item, 0);
  }
};

bool selects(dsa::Executor& executor, dsa::Workspace& workspace) {
  const std::array<float, 5> scores = {0.5F, 2.0F, -1.0F, 2.0F, 1.0F};
  std::array<int32_t, 2> selected = {};
  return dsa::select_top_k(
             {.scores = scores, .n_queries = 1, .n_scores = 5, .k = 2, .out = selected}, executor,
             workspace)
             .ok() &&
         selected[0] == 1 && selected[1] == 3;
}

// Two equal keys: attention gives the mean of their values.
bool attends(dsa::Executor& executor, dsa::Workspace& workspace) {
  constexpr int64_t kLatent = 4;
  constexpr int64_t kRope = 2;
  const auto format = dsa::CacheFormat::kF32;
  std::vector<uint8_t> memory(
      static_cast<size_t>(2 * dsa::latent_row_bytes(format, kLatent, kRope)));
  const dsa::MutablePagedView cache = {.data = memory.data(), .n_pages = 1, .page_tokens = 2};
  const std::array<float, 2 * kLatent> latent = {0, 1, 2, 3, 0, 3, 4, 5};
  const std::array<float, 2 * kRope> rope = {1, 1, 1, 1};
  const std::array<int64_t, 2> slots = {0, 1};
  if (!dsa::write_latent_rows({.format = format,
                               .d_latent = kLatent,
                               .d_rope = kRope,
                               .latent = latent,
                               .rope = rope,
                               .slots = slots,
                               .cache = cache},
                              executor)
           .ok()) {
    return false;
  }
  const std::array<float, kLatent + kRope> q = {1, 0, 0, 0, 1, 1};  // sees only equal elements
  const std::array<int32_t, 2> both = {0, 1};
  std::array<float, kLatent> out = {};
  const dsa::Status status = dsa::sparse_attention({.format = format,
                                                    .d_latent = kLatent,
                                                    .d_rope = kRope,
                                                    .n_heads = 1,
                                                    .n_queries = 1,
                                                    .scale = 1.0F,
                                                    .q = q,
                                                    .cache = cache,
                                                    .rows = both,
                                                    .n_rows = 2,
                                                    .out = out},
                                                   executor, workspace);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  const std::array<float, kLatent> want = {0, 2, 3, 4};
  bool right = status.ok();
  for (size_t i = 0; i < want.size(); ++i)
    right = right && std::fabs(out[i] - want[i]) <= 1e-6F;
  return right;
}

}  // namespace

int main() {
  if (std::strcmp(dsa::version(), DSA_VERSION) != 0) return 1;
  if (!dsa::active_tier().ok()) return 1;
  dsa::ThreadPool pool(2);
  OneThread alone;
  dsa::Workspace workspace;
  for (dsa::Executor* executor :
       {static_cast<dsa::Executor*>(&pool), static_cast<dsa::Executor*>(&alone)}) {
    if (!selects(*executor, workspace) || !attends(*executor, workspace)) return 1;
  }
  std::puts("the installed library attends correctly");
  return 0;
}
