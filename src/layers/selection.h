// Which tokens each query of a batch attends to.
//
// The pass owns it and hands it from layer to layer: one whose indexer runs writes its lists into
// it, one that shares an earlier selection reads what the nearest earlier one has written. Where
// positions alone decide, begin() settles it for all layers: a step whose queries leave nothing
// out has no lists, and those of a window are made here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/forward.h"

#include "layers/pass_options.h"
#include "layers/placed_step.h"
#include "ops/indexer.h"
#include "runtime/scratch.h"

namespace dsa {

class Selection {
 public:
  // options: resolved. max_context: tokens that the longest sequence can have.
  Selection(const PassOptions& options, size_t max_context);

  size_t budget() const { return budget_; }  // tokens that a query attends to, at most

  // Room for the lists of max_rows queries.
  void plan(ScratchPlan* plan, size_t max_rows);

  // steps must outlive the use of the selection. with_scores: hooks want the scores of what is
  // selected, so indexers run even where nothing is left out.
  void begin(std::span<const PlacedStep> steps, bool with_scores);

  // Whether an indexer has work to do: for step s, for any.
  bool needs_indexer(size_t s) const;
  bool needs_indexer() const;

  // An indexer's output for step s: its lists, and their scores [n_tokens, budget] or null. The
  // layer that fills them says so.
  SelectionLists lists(size_t s) const;
  float* scores(size_t s) const;
  void set_made_by(size_t layer) { made_by_ = layer; }

  // What step s attends to: positions are null where nothing is left out.
  SelectionLists attended(size_t s) const;

  // The selection of token i of step s, as a hook in layer `layer` sees it; valid until the next
  // layer.
  SelectionRow row(size_t s, size_t i, size_t layer);

 private:
  bool leaves_nothing_out(size_t s) const;
  bool wants_scores(size_t s) const;
  void select_window(size_t s);

  static constexpr size_t kNoLayer = ~size_t{0};

  const AttentionMode mode_;
  const size_t max_context_;
  const size_t budget_;

  std::span<const PlacedStep> steps_;
  std::vector<size_t> first_rows_;  // [steps] row of the step's first token
  bool with_scores_ = false;
  size_t made_by_ = kNoLayer;         // layer that filled the lists last
  SelectionLists lists_;              // [rows, budget]
  float* scores_ = nullptr;           // [rows, budget]
  int32_t* all_positions_ = nullptr;  // 0, 1, 2, ... for rows that leave nothing out
  size_t n_positions_ = 0;            // that are filled in
};

}  // namespace dsa
