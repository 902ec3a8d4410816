#include "scheduler/plan_pass.h"

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
  step.logits = chunk.logits ? RowsWanted::kLast : RowsWanted::kNone;
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
    choose(plan.chunks[row.step].request, row.logits, filtered);
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
