// What an Engine holds.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "dsa/engine.h"
#include "dsa/forward.h"
#include "dsa/model.h"
#include "dsa/thread_pool.h"

#include "cache/page_pool.h"
#include "cache/sequence.h"
#include "layers/forward_pass.h"

namespace dsa {

struct Engine::Impl {
  std::shared_ptr<const Model> model;
  EngineOptions options;
  ThreadPool threads;
  std::optional<PagePool> pool;
  std::unique_ptr<ForwardPass> forward;
  std::unique_ptr<ForwardPass> nested;  // of calls from hooks; null: none
  std::span<const Step> running;        // the batch whose hooks are being called
  int depth = 0;                        // of calls to forward()
  std::vector<std::optional<SequencePages>> sequences;
  std::vector<float> last_logits;  // [vocab] of decode()

  Impl(std::shared_ptr<const Model> model_, const EngineOptions& options_);

  Status allocate();
  SequencePages* find(SequenceId id);
  Result<SequencePages*> find_idle(SequenceId id);  // that is not being computed
  static Status not_found(SequenceId id);
  Result<SequenceId> add(SequencePages pages);
  Status check_step(const Step& step, size_t index);
  Status check_batch(std::span<const Step> batch);
  bool is_running(SequenceId id) const;
  // All pages of the batch, or none.
  Status reserve(std::span<const Step> batch);
  Status run(std::span<const Step> batch, const ForwardHooks& hooks);
};

}  // namespace dsa
