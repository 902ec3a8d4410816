#include "scheduler/batcher.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "scheduler/plan_pass.h"

namespace dsa::scheduler {

Batcher::Batcher(std::unique_ptr<Engine> engine,
                 std::unique_ptr<DiskTier> disk,
                 double max_step_seconds,
                 int64_t max_context,
                 std::function<double()> clock)
    : engine_(std::move(engine)),
      pages_(engine_.get(), std::move(disk)),
      max_step_seconds_(max_step_seconds),
      max_context_(max_context),
      clock_(std::move(clock)),
      requests_(engine_.get(), &pages_, clock_),
      planner_(&requests_, &pages_, engine_->options().max_batch_tokens, [this] {
        return reads_too_long();
      }) {}

bool Batcher::step() {
  if (requests_.n_waiting() == 0 && requests_.n_running() == 0) return false;
  const double start = counted_until_ = clock_();
  n_streams_ = 0;
  got_on_ = requests_.end_overdue(start);
  requests_.admit(start);
  planner_.add_decoding();
  n_streams_ = planner_.plan().n_decoded;
  const int64_t n_chunks = n_streams_ == 0 ? std::numeric_limits<int64_t>::max()
                                           : budget_.chunks(n_streams_, max_step_seconds_);
  got_on_ = planner_.add_reading(n_chunks) || got_on_;
  bool computed = compute_plan();
  if (n_chunks == 0 && requests_.n_running() > n_streams_) {
    count_step();
    computed = compute_chunk_in_parts() || computed;
  }
  if (!computed && !got_on_ && requests_.n_running() > 0) {
    // Cannot happen: the oldest request is given every page. Better an error than a loop.
    requests_.finish(
        requests_.running().begin()->second.get(), FinishReason::kError,
        Status(StatusCode::kResourceExhausted, "page pool: no page for the oldest request"));
  }
  count_step();
  return true;
}

// How long streams waited.
void Batcher::count_step() {
  const double now = clock_();
  const double seconds = now - std::exchange(counted_until_, now);
  const double* const bounds = StepHistogram::kBoundsMs;
  const double* const end = bounds + StepHistogram::kBuckets - 1;
  ++steps_.counts[std::lower_bound(bounds, end, seconds * 1000) - bounds];
  steps_.sum_seconds += seconds;
  steps_.longest_seconds = std::max(steps_.longest_seconds, seconds);
}

// Reading from disk has cost those who wait for tokens their part of the step.
bool Batcher::reads_too_long() const {
  constexpr double kShareOfStep = 0.5;
  return n_streams_ > 0 && clock_() - counted_until_ > kShareOfStep * max_step_seconds_;
}

bool Batcher::compute_plan() {
  const Plan plan = planner_.take();
  if (plan.chunks.empty()) return false;
  const double start = clock_();
  Result<Pass> pass = begin_plan(engine_.get(), plan, &filtered_);
  while (pass.ok() && pass->advance()) {
  }
  end(plan, pass.status());
  budget_.record(plan.n_decoded, plan.n_chunks_read(engine_->options().page_tokens),
                 clock_() - start);
  return true;
}

// A chunk for which streams would have to wait too long: they get tokens between its parts.
bool Batcher::compute_chunk_in_parts() {
  got_on_ = planner_.add_reading(1) || got_on_;
  const Plan plan = planner_.take();
  if (plan.chunks.empty()) return false;
  const double start = clock_();
  double part_start = start;
  double decoding = 0;
  Result<Pass> pass = begin_plan(engine_.get(), plan, &filtered_);
  while (pass.ok() && pass->advance()) {
    const double now = clock_();
    budget_.record_part(now - part_start);
    if (budget_.decode_now(now - counted_until_, max_step_seconds_)) {
      decoding += decode_between_parts();
    }
    part_start = clock_();
  }
  end(plan, pass.status());
  budget_.record(0, plan.n_chunks_read(engine_->options().page_tokens),
                 clock_() - start - decoding);
  return true;
}

double Batcher::decode_between_parts() {
  const double start = clock_();
  planner_.add_decoding();
  if (!compute_plan()) return 0;
  count_step();
  return clock_() - start;
}

// What the plan's pass gave goes to its requests; status: whether there was one.
void Batcher::end(const Plan& plan, const Status& status) {
  std::vector<RequestState*> choosers;
  std::vector<RequestState*> failed;
  for (const auto& [request, chunk] : plan.chunks) {
    request->n_planned = 0;
    if (status.ok()) {
      requests_.computed(request, chunk);
      if (chunk.logits) choosers.push_back(request);
    } else {
      failed.push_back(request);
    }
  }
  for (RequestState* request : choosers)
    deliver(request);
  std::sort(failed.begin(), failed.end());
  failed.erase(std::unique(failed.begin(), failed.end()), failed.end());
  for (RequestState* request : failed)
    requests_.finish(request, FinishReason::kError, status);
}

void Batcher::deliver_prompt(RequestState* state) {
  if (state->prompt_given) return;
  if (state->wants_prompt() && state->prompt_tokens.empty()) {
    state->prompt_tokens.push_back({state->tokens[0], 0.0F, 0, {}});  // the only one
  }
  state->prompt_given = true;
  if (state->request.on_prompt) state->request.on_prompt(state->prompt_tokens);
  state->prompt_tokens = {};
}

void Batcher::deliver(RequestState* state) {
  const GenerateRequest& request = state->request;
  deliver_prompt(state);
  if (request.max_tokens == 0) return requests_.finish(state, FinishReason::kLength);
  const Status status = state->chosen.value_or(Status(StatusCode::kResourceExhausted, "no logits"));
  state->chosen.reset();
  if (!status.ok()) return requests_.finish(state, FinishReason::kError, status);
  const int32_t token = state->token;
  if (request.logits_filter.accept) request.logits_filter.accept(token);
  const auto& stops = request.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    state->result.stop_token = token;
    return requests_.finish(state, FinishReason::kStop);
  }
  TokenEvent event;
  event.request = state->id;
  event.index = state->n_generated();
  event.position = state->n_tokens();
  event.id = token;
  event.logprob = state->logprob;
  event.top_logprobs = state->top;
  event.selections = state->selections;
  if (event.index == 0) state->result.first_token_seconds = clock_() - state->submitted;
  state->tokens.push_back(token);
  ++n_decoded_;
  const bool more = !request.on_token || request.on_token(event);
  state->selections.clear();
  if (!more) return requests_.finish(state, FinishReason::kStop);
  if (state->n_generated() == request.max_tokens || state->n_tokens() >= max_context_) {
    requests_.finish(state, FinishReason::kLength);
  }
}

SchedulerStats Batcher::stats() const {
  SchedulerStats stats;
  stats.steps = steps_;
  stats.decoded_tokens_total = n_decoded_;
  requests_.add_to(&stats);
  pages_.add_to(&stats);
  return stats;
}

}  // namespace dsa::scheduler
