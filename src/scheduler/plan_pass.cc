#include "scheduler/plan_pass.h"

#include <algorithm>
#include <utility>

#include "scheduler/logprobs.h"

namespace dsa::scheduler {

namespace {

Step step_of(const PlannedChunk& planned) {
  const auto& [request, chunk] = planned;
  Step step;
  step.sequence = request->sequence;
  step.tokens = std::span<const int32_t>(request->tokens)
                    .subspan(static_cast<size_t>(chunk.begin), static_cast<size_t>(chunk.size()));
  step.logits = request->wants_prompt() ? RowsWanted::kAll
                : chunk.logits          ? RowsWanted::kLast
                                        : RowsWanted::kNone;
  step.selections = chunk.logits && request->wants_selections(request->n_generated());
  return step;
}

void choose(RequestState* state, std::span<const float> logits, std::vector<float>* filtered) {
  const GenerateRequest& request = state->request;
  std::span<const float> candidates = logits;
  if (request.logits_filter.filter) {
    filtered->assign(logits.begin(), logits.end());
    request.logits_filter.filter(*filtered);
    candidates = *filtered;
  }
  const auto recent =
      std::span<const int32_t>(state->tokens).subspan(static_cast<size_t>(state->n_prompt));
  const Result<int32_t> token = state->sampler.sample(candidates, recent);
  state->chosen = token.status();
  if (!token.ok()) return;
  state->token = *token;
  if (request.n_logprobs < 0) return;
  const double normaliser = log_normaliser(logits);
  const auto logit = static_cast<double>(logits[static_cast<size_t>(*token)]);
  state->logprob = static_cast<float>(logit - normaliser);
  state->top = top_logprobs(logits, normaliser, request.n_logprobs);
}

// What the logits after the prompt's token at `position` say of the one that follows.
void note_prompt(RequestState* state, int64_t position, std::span<const float> logits) {
  const auto next = static_cast<size_t>(position) + 1;
  std::vector<PromptToken>& tokens = state->prompt_tokens;
  if (next >= static_cast<size_t>(state->n_prompt)) return;
  tokens.resize(std::max(tokens.size(), next + 1));
  tokens[0].id = state->tokens[0];
  PromptToken& token = tokens[next];
  token.id = state->tokens[next];
  const float own = logits[static_cast<size_t>(token.id)];
  const double normaliser = log_normaliser(logits);
  token.logprob = static_cast<float>(static_cast<double>(own) - normaliser);
  token.rank =
      1 + std::count_if(logits.begin(), logits.end(), [own](float logit) { return logit > own; });
  token.top = top_logprobs(logits, normaliser, state->request.n_prompt_logprobs);
}

// The selection of a chunk's last token.
void keep_selection(const PlannedChunk& planned, const SelectionRow& row) {
  if (row.position + 1 != planned.chunk.end) return;
  planned.request->selections.push_back({row.layer,
                                         {row.positions.begin(), row.positions.end()},
                                         {row.scores.begin(), row.scores.end()}});
}

}  // namespace

Result<Pass> begin_plan(Engine* engine, const Plan& plan, std::vector<float>* filtered) {
  std::vector<Step> steps;
  bool selections = false;
  for (const PlannedChunk& planned : plan.chunks) {
    steps.push_back(step_of(planned));
    selections = selections || steps.back().selections;
  }
  ForwardHooks hooks;
  hooks.logits = [&plan, filtered](const LogitsRow& row) {
    const auto& [request, chunk] = plan.chunks[row.step];
    if (request->wants_prompt()) note_prompt(request, row.position, row.logits);
    const bool last = chunk.logits && row.position + 1 == chunk.end;
    if (last && request->request.max_tokens > 0) choose(request, row.logits, filtered);
  };
  if (selections) {
    hooks.selection_scores = true;
    hooks.selection = [&plan](const SelectionRow& row) {
      keep_selection(plan.chunks[row.step], row);
    };
  }
  return engine->begin(steps, std::move(hooks));
}

}  // namespace dsa::scheduler
