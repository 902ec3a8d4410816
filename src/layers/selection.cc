#include "layers/selection.h"

#include <algorithm>
#include <numeric>

namespace dsa {

namespace {

size_t wanted_budget(const PassOptions& options) {
  const bool window = options.attention.mode == AttentionMode::kWindow;
  return static_cast<size_t>(window ? options.attention.window : options.attention.top_k);
}

}  // namespace

Selection::Selection(const PassOptions& options, size_t max_context)
    : mode_(options.attention.mode),
      max_context_(max_context),
      budget_(std::min(wanted_budget(options), max_context)) {}

void Selection::plan(ScratchPlan* plan, size_t max_rows) {
  lists_.stride = budget_;
  plan->add(&lists_.positions, max_rows * budget_);
  plan->add(&lists_.counts, max_rows);
  plan->add(&scores_, max_rows * budget_);
  plan->add(&all_positions_, max_context_);
}

void Selection::begin(std::span<const PlacedStep> steps, bool with_scores) {
  steps_ = steps;
  with_scores_ = with_scores;
  made_by_ = kNoLayer;
  first_rows_.clear();
  size_t n_rows = 0;
  for (size_t s = 0; s < steps.size(); ++s) {
    first_rows_.push_back(n_rows);
    n_rows += steps[s].tokens.size();
    if (mode_ == AttentionMode::kWindow && !leaves_nothing_out(s)) select_window(s);
  }
}

// Every query of the step sees at most the budget.
bool Selection::leaves_nothing_out(size_t s) const {
  return mode_ == AttentionMode::kDense || static_cast<size_t>(steps_[s].length()) <= budget_;
}

bool Selection::wants_scores(size_t s) const {
  return with_scores_ && steps_[s].selections;
}

bool Selection::needs_indexer(size_t s) const {
  return mode_ == AttentionMode::kDsa && (wants_scores(s) || !leaves_nothing_out(s));
}

bool Selection::needs_indexer() const {
  for (size_t s = 0; s < steps_.size(); ++s) {
    if (needs_indexer(s)) return true;
  }
  return false;
}

void Selection::select_window(size_t s) {
  const SelectionLists lists = this->lists(s);
  for (size_t i = 0; i < steps_[s].tokens.size(); ++i) {
    const size_t visible = static_cast<size_t>(steps_[s].first_position) + i + 1;
    const size_t count = std::min(visible, budget_);
    int32_t* row = lists.positions + i * lists.stride;
    std::iota(row, row + count, static_cast<int32_t>(visible - count));
    lists.counts[i] = static_cast<int32_t>(count);
  }
}

SelectionLists Selection::lists(size_t s) const {
  return {lists_.positions + first_rows_[s] * lists_.stride, lists_.counts + first_rows_[s],
          lists_.stride};
}

float* Selection::scores(size_t s) const {
  return wants_scores(s) ? scores_ + first_rows_[s] * budget_ : nullptr;
}

SelectionLists Selection::attended(size_t s) const {
  SelectionLists lists = this->lists(s);
  if (leaves_nothing_out(s)) lists.positions = nullptr;
  return lists;
}

SelectionRow Selection::row(size_t s, size_t i, size_t layer) {
  SelectionRow row;
  row.step = s;
  row.layer = static_cast<int64_t>(layer);
  row.position = steps_[s].first_position + static_cast<int64_t>(i);
  if (leaves_nothing_out(s)) {
    const auto n = static_cast<size_t>(row.position) + 1;
    for (; n_positions_ < n; ++n_positions_)
      all_positions_[n_positions_] = static_cast<int32_t>(n_positions_);
    row.positions = {all_positions_, n};
  } else {
    const SelectionLists lists = this->lists(s);
    row.positions = {lists.positions + i * lists.stride, static_cast<size_t>(lists.counts[i])};
  }
  const bool scored = mode_ == AttentionMode::kDsa && wants_scores(s) && made_by_ == layer;
  if (scored) row.scores = {scores_ + (first_rows_[s] + i) * budget_, row.positions.size()};
  return row;
}

}  // namespace dsa
