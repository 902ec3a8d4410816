#include "scheduler/step_planner.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/math.h"

namespace dsa::scheduler {

StepPlanner::StepPlanner(Requests* requests,
                         PrefixPages* pages,
                         int64_t max_batch_tokens,
                         std::function<bool()> reads_too_long)
    : requests_(requests),
      pages_(pages),
      max_batch_tokens_(max_batch_tokens),
      reads_too_long_(std::move(reads_too_long)) {}

Plan StepPlanner::take() {
  return std::exchange(plan_, {});
}

// Oldest first, so that whoever is preempted here was still to come.
void StepPlanner::add_decoding() {
  for (const auto& [id, request] : requests_->running()) {
    if (!request->decodes()) continue;
    if (add_chunk(request.get(), request->chunk_from(request->n_done))) ++plan_.n_decoded;
  }
}

bool StepPlanner::add_reading(int64_t turns) {
  std::vector<RequestState*> readers;
  for (const auto& [id, request] : requests_->running()) {
    if (!request->decodes()) readers.push_back(request.get());
  }
  const auto after_last =
      std::find_if(readers.begin(), readers.end(),
                   [this](const RequestState* reader) { return reader->id > last_served_; });
  std::rotate(readers.begin(), after_last, readers.end());
  bool attached = false;
  for (bool more = true; more && turns > 0;) {
    more = false;
    for (RequestState* reader : readers) {
      if (turns == 0 || !add_turn(reader, &attached)) continue;
      last_served_ = reader->id;
      more = true;
      --turns;
    }
  }
  return attached;
}

// A turn is a chunk of a prompt, or as many tokens that were generated before a preemption.
bool StepPlanner::add_turn(RequestState* reader, bool* attached) {
  if (reader->sequence < 0) return false;  // preempted since
  if (reader->n_planned == 0 && requests_->attach(reader, PrefixPages::Source::kPoolAndDisk,
                                                  plan_.n_pages, reads_too_long_)) {
    *attached = true;
    if (reads_too_long_()) return false;  // there may be more to read, which is not to be computed
  }
  int64_t left = reader->page_tokens;
  bool any = false;
  while (left > 0 && reader->n_done + reader->n_planned < reader->read_end()) {
    const Chunk chunk = reader->chunk_from(reader->n_done + reader->n_planned);
    if (chunk.size() > left || !add_chunk(reader, chunk)) break;
    left -= chunk.size();
    any = true;
  }
  return any;
}

bool StepPlanner::add_chunk(RequestState* request, const Chunk& chunk) {
  if (plan_.n_tokens + chunk.size() > max_batch_tokens_) return false;
  // Another request computes the same page in this step: it is there in the next one.
  const PageKey* const key = request->key_of(chunk);
  if (key != nullptr && plan_.keys.count(*key) != 0) return false;
  const int64_t n_pages =
      ceil_div(chunk.end, request->page_tokens) - ceil_div(chunk.begin, request->page_tokens);
  if (!make_room(n_pages, request)) return false;
  if (key != nullptr) plan_.keys.insert(*key);
  plan_.chunks.push_back({request, chunk});
  plan_.n_tokens += chunk.size();
  plan_.n_pages += n_pages;
  request->n_planned += chunk.size();
  return true;
}

// Preempts the newest requests that are not in the step until the pages are free. A request that
// finds none to preempt is left out of this step: those that are older get on, and end.
bool StepPlanner::make_room(int64_t n_pages, const RequestState* user) {
  while (!pages_->make_room(plan_.n_pages + n_pages)) {
    const RequestState* const newest = requests_->running().rbegin()->second.get();
    if (newest == user || newest->n_planned > 0) return false;
    requests_->preempt_newest();
  }
  return true;
}

}  // namespace dsa::scheduler
