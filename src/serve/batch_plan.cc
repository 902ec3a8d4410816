// What the next step computes: first a token of every sequence that decodes, then chunks of prompts
// in turns.
#include <algorithm>

#include "common/math.h"
#include "serve/batcher.h"

namespace dsa {

// Oldest first, so that whoever is preempted here was still to come.
void Batcher::plan_decoding() {
  for (auto& [id, generation] : running_) {
    if (!generation->decodes()) continue;
    if (plan_chunk(generation.get(), generation->chunk_from(generation->n_done))) ++plan_.n_decoded;
  }
}

void Batcher::plan_reading(int64_t turns) {
  std::vector<Generation*> readers;
  for (auto& [id, generation] : running_) {
    if (!generation->decodes()) readers.push_back(generation.get());
  }
  const auto after_last = std::find_if(
      readers.begin(), readers.end(), [this](const Generation* g) { return g->id > last_served_; });
  std::rotate(readers.begin(), after_last, readers.end());
  for (bool more = true; more && turns > 0;) {
    more = false;
    for (Generation* reader : readers) {
      if (turns == 0 || !plan_turn(reader)) continue;
      last_served_ = reader->id;
      more = true;
      --turns;
    }
  }
}

// A turn is a chunk of a prompt, or as many tokens that were generated before a preemption.
bool Batcher::plan_turn(Generation* reader) {
  if (reader->sequence < 0) return false;  // preempted since
  if (reader->n_planned == 0 && attach(reader, PrefixPages::Source::kPoolAndDisk)) {
    got_on_ = true;
    if (reads_too_long()) return false;  // there may be more to read, which is not to be computed
  }
  int64_t left = kChunkTokens;
  bool any = false;
  while (left > 0 && reader->n_done + reader->n_planned < reader->read_end()) {
    const Chunk chunk = reader->chunk_from(reader->n_done + reader->n_planned);
    if (chunk.size() > left || !plan_chunk(reader, chunk)) break;
    left -= chunk.size();
    any = true;
  }
  return any;
}

bool Batcher::plan_chunk(Generation* generation, const Chunk& chunk) {
  if (plan_.n_tokens + chunk.size() > engine_->options().max_batch_tokens) return false;
  // Another request computes the same page in this step: it is there in the next one.
  const PageKey* const key = generation->key_of(chunk);
  if (key != nullptr && plan_.keys.count(*key) != 0) return false;
  const int64_t n_pages =
      ceil_div(chunk.end, kTokensPerPage) - ceil_div(chunk.begin, kTokensPerPage);
  if (!make_room(n_pages, generation)) return false;
  if (key != nullptr) plan_.keys.insert(*key);
  plan_.chunks.push_back({generation, chunk});
  plan_.n_tokens += chunk.size();
  plan_.n_pages += n_pages;
  generation->n_planned += chunk.size();
  return true;
}

// Preempts the newest requests that are not in the step until the pages are free. A request that
// finds none to preempt is left out of this step: those that are older get on, and end.
bool Batcher::make_room(int64_t n_pages, const Generation* user) {
  while (!pages_.make_room(plan_.n_pages + n_pages)) {
    const Generation* const newest = running_.rbegin()->second.get();
    if (newest == user || newest->n_planned > 0) return false;
    preempt_newest();
  }
  return true;
}

}  // namespace dsa
