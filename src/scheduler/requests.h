// The requests that wait and those that run: who is admitted, what a running one holds, how it
// ends.
//
// Invariants
//   1. A running request has a sequence, or is ended before anything else is done with it.
//   2. Requests start in the order of their ids; the newest is preempted first.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "dsa/engine.h"
#include "dsa/scheduler.h"

#include "scheduler/prefix_pages.h"
#include "scheduler/request_state.h"

namespace dsa::scheduler {

class Requests {
 public:
  using ById = std::map<RequestId, std::unique_ptr<RequestState>>;

  // All three must outlive the object.
  Requests(Engine* engine, PrefixPages* pages, const std::function<double()>& clock);

  // Requests are added in the order of their ids.
  void add(std::unique_ptr<RequestState> request);
  void cancel(RequestId id);
  void cancel_all();

  // Ends those that are cancelled or late; whether there were any.
  bool end_overdue(double now);
  // Starts those that there is room for.
  void admit(double now);

  const ById& running() const { return running_; }
  int64_t n_running() const { return static_cast<int64_t>(running_.size()); }
  int64_t n_waiting() const { return static_cast<int64_t>(waiting_.size()); }

  // Takes what the caches have of the prompt from where the sequence ends, leaving n_reserved pages
  // free, until `enough`; whether there was anything.
  bool attach(RequestState* request,
              PrefixPages::Source source,
              int64_t n_reserved,
              const std::function<bool()>& enough);

  // The sequence has the chunk's tokens.
  void computed(RequestState* request, const Chunk& chunk);

  // Gives back what the newest holds, and has it wait again.
  void preempt_newest();

  void finish(RequestState* request, FinishReason reason, const Status& status = {});

  void add_to(SchedulerStats* stats) const;

 private:
  bool fits(const RequestState& request) const;
  void start(RequestState* request, double now);
  void release(RequestState* request);

  Engine* const engine_;
  PrefixPages* const pages_;
  const std::function<double()>& clock_;

  ById waiting_;  // oldest first; those that were preempted are older than the rest
  ById running_;
  int64_t n_unstarted_ = 0;
  SchedulerStats totals_;  // what is counted here
};

}  // namespace dsa::scheduler
