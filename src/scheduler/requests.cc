#include "scheduler/requests.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "common/math.h"

namespace dsa::scheduler {

Requests::Requests(Engine* engine, PrefixPages* pages, const std::function<double()>& clock)
    : engine_(engine), pages_(pages), clock_(clock) {}

void Requests::add(std::unique_ptr<RequestState> request) {
  ++n_unstarted_;
  const RequestId id = request->id;
  waiting_.emplace(id, std::move(request));
}

void Requests::cancel(RequestId id) {
  for (ById* where : {&waiting_, &running_}) {
    const auto found = where->find(id);
    if (found != where->end()) found->second->cancelled = true;
  }
}

void Requests::cancel_all() {
  for (ById* where : {&waiting_, &running_}) {
    for (auto& [id, request] : *where)
      request->cancelled = true;
  }
}

bool Requests::end_overdue(double now) {
  std::vector<RequestState*> over;
  for (ById* where : {&waiting_, &running_}) {
    for (auto& [id, request] : *where) {
      const bool late = request->deadline > 0 && now >= request->deadline;
      if (request->cancelled || late) over.push_back(request.get());
    }
  }
  for (RequestState* request : over)
    finish(request, request->cancelled ? FinishReason::kCancelled : FinishReason::kDeadline);
  return !over.empty();
}

void Requests::admit(double now) {
  while (!waiting_.empty() && n_running() < engine_->options().max_sequences) {
    const auto oldest = waiting_.begin();
    if (!running_.empty() && !fits(*oldest->second)) return;
    RequestState* const request = oldest->second.get();
    running_.insert(waiting_.extract(oldest));
    start(request, now);
  }
}

// Room for all of its tokens so far and one more, in addition to what running requests still have
// to prefill. Pages that others use of its prompt are there already.
bool Requests::fits(const RequestState& request) const {
  const int64_t page_tokens = engine_->options().page_tokens;
  const auto pages_for = [=](int64_t n_tokens) { return ceil_div(n_tokens, page_tokens); };
  int64_t needed = pages_for(request.n_tokens() + 1);
  for (const PageKey& key : request.keys) {
    if (!pages_->in_use(key)) break;
    --needed;
  }
  for (const auto& [id, other] : running_) {
    needed += std::max<int64_t>(0, pages_for(other->n_tokens() + 1) - pages_for(other->n_done));
  }
  return needed <= pages_->n_available();
}

void Requests::start(RequestState* request, double now) {
  const Result<SequenceId> sequence = engine_->create_sequence();
  if (!sequence.ok()) {
    finish(request, FinishReason::kError, sequence.status());
    return;
  }
  request->sequence = *sequence;
  if (!request->started) {
    request->started = true;
    --n_unstarted_;
    request->result.queue_seconds = now - request->submitted;
  }
  attach(request, PrefixPages::Source::kPool, 0, [] { return false; });
}

bool Requests::attach(RequestState* request,
                      PrefixPages::Source source,
                      int64_t n_reserved,
                      const std::function<bool()>& enough) {
  const int64_t before = request->n_done;
  while (const PageKey* key = request->next_key()) {
    if (request->n_done > before && enough()) break;
    if (!pages_->attach(request->sequence, *key, source, n_reserved)) break;
    request->n_done += request->page_tokens;
    if (request->n_done > request->n_counted) {
      request->n_counted = request->n_done;
      request->result.prompt_cache_hit_tokens += request->page_tokens;
      totals_.cache_hit_tokens_total += request->page_tokens;
    }
  }
  return request->n_done > before;
}

void Requests::computed(RequestState* request, const Chunk& chunk) {
  request->n_done = chunk.end;
  const int64_t n_read = std::min(chunk.end, request->n_prompt) - chunk.begin;
  if (n_read > 0 || !chunk.logits) totals_.prefilled_tokens_total += chunk.size();
  if (n_read > 0 && chunk.end > request->n_counted) {
    request->n_counted = chunk.end;
    request->result.prompt_cache_miss_tokens += n_read;
    totals_.cache_miss_tokens_total += n_read;
  }
  if (const PageKey* key = request->key_of(chunk)) {
    pages_->keep(request->sequence, chunk.begin / request->page_tokens, *key);
  }
}

// Gives back what the sequence holds. Its prompt's pages stay in the cache, last to first, so that
// ends of paths are evicted before what they continue.
void Requests::release(RequestState* request) {
  if (request->sequence < 0) return;
  if (!engine_->release_sequence(request->sequence).ok()) return;
  for (int64_t i = request->n_shared() - 1; i >= 0; --i)
    pages_->leave(request->keys[static_cast<size_t>(i)]);
  request->sequence = -1;
  request->n_done = 0;
  request->n_planned = 0;
}

void Requests::preempt_newest() {
  const auto newest = std::prev(running_.end());
  ++newest->second->result.n_preemptions;
  ++totals_.preemptions_total;
  release(newest->second.get());
  waiting_.insert(running_.extract(newest));
}

void Requests::finish(RequestState* request, FinishReason reason, const Status& status) {
  release(request);
  const RequestId id = request->id;
  auto node = running_.extract(id);
  if (node.empty()) node = waiting_.extract(id);
  if (!request->started) --n_unstarted_;
  ++totals_.finished_total[static_cast<size_t>(reason)];
  GenerateResult& result = request->result;
  result.request = id;
  result.reason = reason;
  result.error = status;
  result.n_prompt_tokens = request->n_prompt;
  result.n_generated_tokens = request->n_generated();
  result.total_seconds = clock_() - request->submitted;
  if (request->request.on_done) request->request.on_done(result);
}

void Requests::add_to(SchedulerStats* stats) const {
  stats->n_running = n_running();
  stats->n_waiting = n_waiting();
  stats->n_preempted = stats->n_waiting - n_unstarted_;
  stats->cache_hit_tokens_total = totals_.cache_hit_tokens_total;
  stats->cache_miss_tokens_total = totals_.cache_miss_tokens_total;
  stats->prefilled_tokens_total = totals_.prefilled_tokens_total;
  stats->preemptions_total = totals_.preemptions_total;
  std::copy(std::begin(totals_.finished_total), std::end(totals_.finished_total),
            std::begin(stats->finished_total));
}

}  // namespace dsa::scheduler
