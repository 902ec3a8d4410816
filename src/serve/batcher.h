// Continuous batching on one thread: which requests run, what the next step computes, what becomes
// of its results. Deterministic but for the clock, which decides how many chunks a step takes and
// when a request is overdue.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_set>
#include <vector>

#include "dsa/engine.h"
#include "dsa/scheduler.h"

#include "serve/generation.h"
#include "serve/prefix_pages.h"
#include "serve/step_budget.h"

namespace dsa {

class Batcher {
 public:
  // disk: null for none. max_context: of one request; the pool has room for it.
  Batcher(std::unique_ptr<Engine> engine,
          std::unique_ptr<DiskTier> disk,
          double max_step_seconds,
          int64_t max_context,
          std::function<double()> clock);

  // Requests are added in the order of their ids.
  void add(std::unique_ptr<Generation> generation);
  void cancel(RequestId id);
  void cancel_all();

  // False when there is nothing to do.
  bool step();

  int64_t n_running() const { return static_cast<int64_t>(running_.size()); }
  int64_t n_waiting() const { return static_cast<int64_t>(waiting_.size()); }
  PrefixPages& pages() { return pages_; }
  SchedulerStats stats() const;

 private:
  using Generations = std::map<RequestId, std::unique_ptr<Generation>>;

  void end_overdue();
  void admit();
  bool fits(const Generation& generation) const;
  void start(Generation* generation);

  void plan_decoding();
  void plan_reading(int64_t turns);
  bool plan_turn(Generation* generation);
  bool plan_chunk(Generation* generation, const Chunk& chunk);
  bool make_room(int64_t n_pages, const Generation* user);
  bool attach(Generation* generation, PrefixPages::Source source);
  bool reads_too_long() const;
  void preempt_newest();

  // What one call of the engine computes.
  struct Planned {
    Generation* generation;
    Chunk chunk;
  };
  struct Plan {
    std::vector<Planned> chunks;
    std::unordered_set<PageKey, PageKeyHash> keys;
    int64_t n_tokens = 0;
    int64_t n_pages = 0;
    int64_t n_decoded = 0;

    double n_chunks_read() const {
      return static_cast<double>(n_tokens - n_decoded) / static_cast<double>(kChunkTokens);
    }
  };

  bool compute_plan();
  bool compute_chunk_in_parts();
  double decode_between_parts();
  Result<Pass> begin(const Plan& plan);
  void end(const Plan& plan, const Status& status);
  void count_step();
  void choose(Generation* generation, std::span<const float> logits);
  void advance(Generation* generation, const Chunk& chunk);
  void deliver(Generation* generation);
  void release(Generation* generation);
  void finish(Generation* generation, FinishReason reason, const Status& status = {});

  std::unique_ptr<Engine> engine_;
  PrefixPages pages_;
  const double max_step_seconds_;
  const int64_t max_context_;
  const std::function<double()> clock_;
  StepBudget budget_;

  Generations waiting_;  // oldest first; those that were preempted are older than the rest
  Generations running_;
  int64_t n_unstarted_ = 0;
  RequestId last_served_ = 0;  // of the requests that read: turns go round

  Plan plan_;  // being made
  double step_start_ = 0;
  int64_t n_streams_ = 0;     // that the step gives tokens first
  double counted_until_ = 0;  // by count_step(): when streams got tokens, or the step began
  bool got_on_ = false;       // something was read from disk or ended

  std::vector<float> filtered_;  // logits for a request's filter
  SchedulerStats totals_;
};

}  // namespace dsa
