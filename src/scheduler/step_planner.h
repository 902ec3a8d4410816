// What the next step computes: first a token of every sequence that decodes, then chunks of prompts
// in turns.
#pragma once

#include <cstdint>
#include <functional>

#include "scheduler/plan.h"
#include "scheduler/prefix_pages.h"
#include "scheduler/requests.h"

namespace dsa::scheduler {

class StepPlanner {
 public:
  // requests and pages must outlive the object. reads_too_long: whether reading pages from disk has
  // cost the streams their part of the step.
  StepPlanner(Requests* requests,
              PrefixPages* pages,
              int64_t max_batch_tokens,
              std::function<bool()> reads_too_long);

  // Adds the next token of every request that decodes.
  void add_decoding();
  // Adds chunks of prompts, at most `turns`; whether pages were read from disk in their place.
  bool add_reading(int64_t turns);

  const Plan& plan() const { return plan_; }
  Plan take();  // and begins another

 private:
  bool add_turn(RequestState* reader, bool* attached);
  bool add_chunk(RequestState* request, const Chunk& chunk);
  bool make_room(int64_t n_pages, const RequestState* user);

  Requests* const requests_;
  PrefixPages* const pages_;
  const int64_t max_batch_tokens_;
  const std::function<bool()> reads_too_long_;
  Plan plan_;
  RequestId last_served_ = 0;  // of the requests that read: turns go round
};

}  // namespace dsa::scheduler
