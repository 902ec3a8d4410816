// Continuous batching on one thread: step after step, which requests run (serve/requests.h), what
// the step computes (serve/step_planner.h), what becomes of its results. Deterministic but for the
// clock, which decides how many chunks a step takes and when a request is overdue.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "dsa/engine.h"
#include "dsa/scheduler.h"

#include "scheduler/plan.h"
#include "scheduler/prefix_pages.h"
#include "scheduler/requests.h"
#include "scheduler/step_budget.h"
#include "scheduler/step_planner.h"

namespace dsa::scheduler {

class Batcher {
 public:
  // disk: null for none. max_context: of one request; the pool has room for it.
  Batcher(std::unique_ptr<Engine> engine,
          std::unique_ptr<DiskTier> disk,
          double max_step_seconds,
          int64_t max_context,
          std::function<double()> clock);

  // False when there is nothing to do.
  bool step();

  Requests& requests() { return requests_; }
  PrefixPages& pages() { return pages_; }
  SchedulerStats stats() const;

 private:
  bool reads_too_long() const;
  bool compute_plan();
  bool compute_chunk_in_parts();
  double decode_between_parts();
  void end(const Plan& plan, const Status& status);
  static void deliver_prompt(RequestState* state);
  void deliver(RequestState* state);
  void count_step();

  const std::unique_ptr<Engine> engine_;
  PrefixPages pages_;
  const double max_step_seconds_;
  const int64_t max_context_;
  const std::function<double()> clock_;
  Requests requests_;
  StepPlanner planner_;
  StepBudget budget_;

  int64_t n_streams_ = 0;     // that the step gives tokens first
  double counted_until_ = 0;  // by count_step(): when streams got tokens, or the step began
  bool got_on_ = false;       // something was read from disk or ended

  std::vector<float> filtered_;  // logits for a request's filter
  StepHistogram steps_;
  int64_t n_decoded_ = 0;  // tokens
};

}  // namespace dsa::scheduler
