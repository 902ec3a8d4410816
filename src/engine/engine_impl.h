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
#include "engine/pass_state.h"

namespace dsa {

struct Engine::Impl {
  std::shared_ptr<const Model> model;
  EngineOptions options;
  ThreadPool threads;
  std::optional<PagePool> pool;
  // Passes that may be under way at a time: one of max_batch_tokens, and with it one of
  // max_interleaved_tokens where there is such an option.
  std::vector<std::unique_ptr<Pass::State>> passes;
  std::vector<std::optional<SequencePages>> sequences;
  std::vector<float> last_logits;  // [vocab] of decode()

  Impl(std::shared_ptr<const Model> model_, const EngineOptions& options_);

  Status allocate();
  SequencePages* find(SequenceId id);
  Result<SequencePages*> find_idle(SequenceId id);  // that is not being computed
  static Status not_found(SequenceId id);
  Result<SequenceId> add(SequencePages pages);
  Status check_step(const Step& step, size_t index);
  Status check_batch(std::span<const Step> batch, const Pass::State& pass);
  bool is_computed(SequenceId id) const;
  Result<Pass::State*> free_pass();
  // All pages of the batch, or none.
  Status reserve(std::span<const Step> batch);
};

}  // namespace dsa
