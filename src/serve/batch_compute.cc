// Running a planned step and handing out what it gave.
#include <algorithm>
#include <utility>

#include "serve/batcher.h"
#include "serve/logprobs.h"

namespace dsa {

bool Batcher::compute_plan() {
  const Plan plan = std::exchange(plan_, {});
  if (plan.chunks.empty()) return false;
  const double start = clock_();
  Result<Pass> pass = begin(plan);
  while (pass.ok() && pass->advance()) {
  }
  end(plan, pass.status());
  budget_.record(plan.n_decoded, plan.n_chunks_read(), clock_() - start);
  return true;
}

// A chunk for which streams would have to wait too long: they get tokens between its parts.
bool Batcher::compute_chunk_in_parts() {
  plan_reading(1);
  const Plan plan = std::exchange(plan_, {});
  if (plan.chunks.empty()) return false;
  const double start = clock_();
  double part_start = start;
  double decoding = 0;
  Result<Pass> pass = begin(plan);
  while (pass.ok() && pass->advance()) {
    const double now = clock_();
    budget_.record_part(now - part_start);
    if (budget_.decode_now(now - counted_until_, max_step_seconds_)) {
      decoding += decode_between_parts();
    }
    part_start = clock_();
  }
  end(plan, pass.status());
  budget_.record(0, plan.n_chunks_read(), clock_() - start - decoding);
  return true;
}

double Batcher::decode_between_parts() {
  const double start = clock_();
  plan_decoding();
  if (!compute_plan()) return 0;
  count_step();
  return clock_() - start;
}

// The pass that computes the plan, which must stay until it ends.
Result<Pass> Batcher::begin(const Plan& plan) {
  std::vector<Step> steps;
  bool selections = false;
  for (const auto& [generation, chunk] : plan.chunks) {
    Step step;
    step.sequence = generation->sequence;
    step.tokens = std::span<const int32_t>(generation->tokens)
                      .subspan(static_cast<size_t>(chunk.begin), static_cast<size_t>(chunk.size()));
    step.logits = chunk.logits ? RowsWanted::kLast : RowsWanted::kNone;
    step.selections = chunk.logits && generation->wants_selections(generation->n_generated());
    selections = selections || step.selections;
    steps.push_back(step);
  }
  ForwardHooks hooks;
  hooks.logits = [this, &plan](const LogitsRow& row) {
    choose(plan.chunks[row.step].generation, row.logits);
  };
  if (selections) {
    hooks.selection_scores = true;
    hooks.selection = [&plan](const SelectionRow& selection) {
      const auto& [generation, chunk] = plan.chunks[selection.step];
      if (selection.position + 1 != chunk.end) return;
      generation->selections.push_back({selection.layer,
                                        {selection.positions.begin(), selection.positions.end()},
                                        {selection.scores.begin(), selection.scores.end()}});
    };
  }
  return engine_->begin(steps, std::move(hooks));
}

// What the plan's pass gave goes to its requests; status: whether there was one.
void Batcher::end(const Plan& plan, const Status& status) {
  std::vector<Generation*> choosers;
  std::vector<Generation*> failed;
  for (const auto& [generation, chunk] : plan.chunks) {
    generation->n_planned = 0;
    if (status.ok()) {
      advance(generation, chunk);
      if (chunk.logits) choosers.push_back(generation);
    } else if (failed.empty() || failed.back() != generation) {
      failed.push_back(generation);
    }
  }
  for (Generation* generation : choosers)
    deliver(generation);
  std::sort(failed.begin(), failed.end());
  failed.erase(std::unique(failed.begin(), failed.end()), failed.end());
  for (Generation* generation : failed)
    finish(generation, FinishReason::kError, status);
}

void Batcher::choose(Generation* generation, std::span<const float> logits) {
  const GenerateRequest& request = generation->request;
  std::span<const float> candidates = logits;
  if (request.logits_filter.filter) {
    filtered_.assign(logits.begin(), logits.end());
    request.logits_filter.filter(filtered_);
    candidates = filtered_;
  }
  const auto recent = std::span<const int32_t>(generation->tokens)
                          .subspan(static_cast<size_t>(generation->n_prompt));
  const Result<int32_t> token = generation->sampler.sample(candidates, recent);
  generation->chosen = token.status();
  if (!token.ok()) return;
  generation->token = *token;
  if (request.n_logprobs < 0) return;
  const double normaliser = log_normaliser(logits);
  const auto logit = static_cast<double>(logits[static_cast<size_t>(*token)]);
  generation->logprob = static_cast<float>(logit - normaliser);
  generation->top = top_logprobs(logits, normaliser, request.n_logprobs);
}

// The sequence has the chunk's tokens.
void Batcher::advance(Generation* generation, const Chunk& chunk) {
  generation->n_done = chunk.end;
  const int64_t n_read = std::min(chunk.end, generation->n_prompt) - chunk.begin;
  if (n_read > 0 || !chunk.logits) totals_.prefilled_tokens_total += chunk.size();
  if (n_read > 0 && chunk.end > generation->n_counted) {
    generation->n_counted = chunk.end;
    generation->result.prompt_cache_miss_tokens += n_read;
    totals_.cache_miss_tokens_total += n_read;
  }
  if (const PageKey* key = generation->key_of(chunk)) {
    pages_.keep(generation->sequence, chunk.begin / kChunkTokens, *key);
  }
}

void Batcher::deliver(Generation* generation) {
  const GenerateRequest& request = generation->request;
  const Status status =
      generation->chosen.value_or(Status(StatusCode::kResourceExhausted, "no logits"));
  generation->chosen.reset();
  if (!status.ok()) return finish(generation, FinishReason::kError, status);
  const int32_t token = generation->token;
  if (request.logits_filter.accept) request.logits_filter.accept(token);
  const auto& stops = request.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    generation->result.stop_token = token;
    return finish(generation, FinishReason::kStop);
  }
  TokenEvent event;
  event.request = generation->id;
  event.index = generation->n_generated();
  event.position = generation->n_tokens();
  event.id = token;
  event.logprob = generation->logprob;
  event.top_logprobs = generation->top;
  event.selections = generation->selections;
  if (event.index == 0) {
    generation->result.first_token_seconds = clock_() - generation->submitted;
  }
  generation->tokens.push_back(token);
  ++totals_.decoded_tokens_total;
  const bool more = !request.on_token || request.on_token(event);
  generation->selections.clear();
  if (!more) return finish(generation, FinishReason::kStop);
  if (generation->n_generated() == request.max_tokens || generation->n_tokens() >= max_context_) {
    finish(generation, FinishReason::kLength);
  }
}

}  // namespace dsa
