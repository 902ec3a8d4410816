#include "serve/batcher.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/math.h"

namespace dsa {

namespace {

int64_t pages_for(int64_t n_tokens) {
  return ceil_div(n_tokens, kTokensPerPage);
}

}  // namespace

Batcher::Batcher(std::unique_ptr<Engine> engine,
                 std::unique_ptr<DiskTier> disk,
                 double max_step_seconds,
                 int64_t max_context,
                 std::function<double()> clock)
    : engine_(std::move(engine)),
      pages_(engine_.get(), std::move(disk)),
      max_step_seconds_(max_step_seconds),
      max_context_(max_context),
      clock_(std::move(clock)) {}

void Batcher::add(std::unique_ptr<Generation> generation) {
  ++n_unstarted_;
  waiting_.emplace(generation->id, std::move(generation));
}

void Batcher::cancel(RequestId id) {
  for (Generations* where : {&waiting_, &running_}) {
    const auto found = where->find(id);
    if (found != where->end()) found->second->cancelled = true;
  }
}

void Batcher::cancel_all() {
  for (Generations* where : {&waiting_, &running_}) {
    for (auto& [id, generation] : *where)
      generation->cancelled = true;
  }
}

bool Batcher::step() {
  if (waiting_.empty() && running_.empty()) return false;
  step_start_ = counted_until_ = clock_();
  got_on_ = false;
  n_streams_ = 0;
  end_overdue();
  admit();
  plan_decoding();
  n_streams_ = plan_.n_decoded;
  const int64_t n_chunks = n_streams_ == 0 ? std::numeric_limits<int64_t>::max()
                                           : budget_.chunks(n_streams_, max_step_seconds_);
  plan_reading(n_chunks);
  bool computed = compute_plan();
  if (n_chunks == 0 && n_running() > n_streams_) {
    count_step();
    computed = compute_chunk_in_parts() || computed;
  }
  if (!computed && !got_on_ && !running_.empty()) {
    // Cannot happen: the oldest request is given every page. Better an error than a loop.
    finish(running_.begin()->second.get(), FinishReason::kError,
           Status(StatusCode::kResourceExhausted, "page pool: no page for the oldest request"));
  }
  count_step();
  return true;
}

// How long streams waited.
void Batcher::count_step() {
  const double now = clock_();
  const double seconds = now - std::exchange(counted_until_, now);
  StepHistogram& steps = totals_.steps;
  const double* const bounds = StepHistogram::kBoundsMs;
  const double* const end = bounds + StepHistogram::kBuckets - 1;
  ++steps.counts[std::lower_bound(bounds, end, seconds * 1000) - bounds];
  steps.sum_seconds += seconds;
  steps.longest_seconds = std::max(steps.longest_seconds, seconds);
}

void Batcher::end_overdue() {
  std::vector<Generation*> over;
  for (Generations* where : {&waiting_, &running_}) {
    for (auto& [id, generation] : *where) {
      const bool late = generation->deadline > 0 && step_start_ >= generation->deadline;
      if (generation->cancelled || late) over.push_back(generation.get());
    }
  }
  for (Generation* generation : over) {
    got_on_ = true;
    finish(generation, generation->cancelled ? FinishReason::kCancelled : FinishReason::kDeadline);
  }
}

void Batcher::admit() {
  while (!waiting_.empty() && n_running() < engine_->options().max_sequences) {
    const auto oldest = waiting_.begin();
    if (!running_.empty() && !fits(*oldest->second)) return;
    Generation* const generation = oldest->second.get();
    running_.insert(waiting_.extract(oldest));
    start(generation);
  }
}

// Room for all of its tokens so far and one more, in addition to what running requests still have
// to prefill. Pages that others use of its prompt are there already.
bool Batcher::fits(const Generation& generation) const {
  int64_t needed = pages_for(generation.n_tokens() + 1);
  for (const PageKey& key : generation.keys) {
    if (!pages_.in_use(key)) break;
    --needed;
  }
  for (const auto& [id, other] : running_) {
    needed += std::max<int64_t>(0, pages_for(other->n_tokens() + 1) - pages_for(other->n_done));
  }
  return needed <= pages_.n_available();
}

void Batcher::start(Generation* generation) {
  const Result<SequenceId> sequence = engine_->create_sequence();
  if (!sequence.ok()) {
    finish(generation, FinishReason::kError, sequence.status());
    return;
  }
  generation->sequence = *sequence;
  if (!generation->started) {
    generation->started = true;
    --n_unstarted_;
    generation->result.queue_seconds = step_start_ - generation->submitted;
  }
  attach(generation, PrefixPages::Source::kPool);
}

// Reading from disk has cost those who wait for tokens their part of the step.
bool Batcher::reads_too_long() const {
  constexpr double kShareOfStep = 0.5;
  return n_streams_ > 0 && clock_() - counted_until_ > kShareOfStep * max_step_seconds_;
}

// Takes what the caches have of the prompt from where the sequence ends; true when there was
// anything.
bool Batcher::attach(Generation* generation, PrefixPages::Source source) {
  const int64_t before = generation->n_done;
  while (const PageKey* key = generation->next_key()) {
    if (generation->n_done > before && reads_too_long()) break;
    if (!pages_.attach(generation->sequence, *key, source, plan_.n_pages)) break;
    generation->n_done += kChunkTokens;
    if (generation->n_done > generation->n_counted) {
      generation->n_counted = generation->n_done;
      generation->result.prompt_cache_hit_tokens += kChunkTokens;
      totals_.cache_hit_tokens_total += kChunkTokens;
    }
  }
  return generation->n_done > before;
}

// Gives back what the sequence holds. Its prompt's pages stay in the cache, last to first, so that
// ends of paths are forgotten before what they continue.
void Batcher::release(Generation* generation) {
  if (generation->sequence < 0) return;
  if (!engine_->release_sequence(generation->sequence).ok()) return;
  for (int64_t i = generation->n_shared() - 1; i >= 0; --i)
    pages_.leave(generation->keys[static_cast<size_t>(i)]);
  generation->sequence = -1;
  generation->n_done = 0;
  generation->n_planned = 0;
}

void Batcher::preempt_newest() {
  const auto newest = std::prev(running_.end());
  ++newest->second->result.n_preemptions;
  ++totals_.preemptions_total;
  release(newest->second.get());
  waiting_.insert(running_.extract(newest));
}

void Batcher::finish(Generation* generation, FinishReason reason, const Status& status) {
  release(generation);
  const RequestId id = generation->id;
  auto node = running_.extract(id);
  if (node.empty()) node = waiting_.extract(id);
  if (!generation->started) --n_unstarted_;
  ++totals_.finished_total[static_cast<size_t>(reason)];
  GenerateResult& result = generation->result;
  result.request = id;
  result.reason = reason;
  result.error = status;
  result.n_prompt_tokens = generation->n_prompt;
  result.n_generated_tokens = generation->n_generated();
  result.total_seconds = clock_() - generation->submitted;
  if (generation->request.on_done) generation->request.on_done(result);
}

SchedulerStats Batcher::stats() const {
  SchedulerStats stats = totals_;
  stats.n_running = n_running();
  stats.n_waiting = n_waiting();
  stats.n_preempted = stats.n_waiting - n_unstarted_;
  pages_.add_to(&stats);
  return stats;
}

}  // namespace dsa
