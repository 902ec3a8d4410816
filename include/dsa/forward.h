// What a forward pass takes and gives: steps of sequences in, rows of logits, hidden states and
// selections out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "dsa/types.h"

#pragma GCC visibility push(default)

namespace dsa {

// Which earlier tokens a query attends to.
struct AttentionOptions {
  AttentionMode mode = AttentionMode::kDsa;
  int64_t window = 0;       // kWindow: tokens attended to, the query's own included; >= 1
  int64_t top_k = 0;        // tokens selected per query; 0: the checkpoint's index_topk
  int64_t keep_first = 0;   // first tokens always selected, inside the budget top_k
  int64_t keep_recent = 0;  // most recent tokens always selected, inside the budget top_k
};

using SequenceId = int32_t;

// Of which tokens of a step there are results.
enum class RowsWanted : uint8_t { kNone, kLast, kAll };

// One sequence's share of a batch: tokens to append to it, in order.
struct Step {
  SequenceId sequence = -1;
  std::span<const int32_t> tokens;
  RowsWanted logits = RowsWanted::kLast;
  RowsWanted hidden = RowsWanted::kNone;
  bool selections = true;  // whether ForwardHooks::selection is called for it
};

struct LogitsRow {
  size_t step = 0;                // index into the batch
  int64_t position = 0;           // of the token whose successor the logits predict
  std::span<const float> logits;  // [vocab_size]; valid during the call only
};

// The residual stream after the last layer, before the final norm: what the logits of the same
// position are computed from.
struct HiddenRow {
  size_t step = 0;
  int64_t position = 0;
  std::span<const float> hidden;  // [hidden_size]; valid during the call only
};

// What one query of one layer attended to.
struct SelectionRow {
  size_t step = 0;
  int64_t layer = 0;
  int64_t position = 0;                // of the query
  std::span<const int32_t> positions;  // ascending; all of 0..position where nothing is left out
  std::span<const float> scores;       // indexer scores of `positions`; empty unless wanted, and
                                       // in layers whose indexer does not run
};

// What a pass hands out while it is computed: rows in batch order, selections layer by layer.
//
// Hooks are called on the thread that advances the pass, at the end of a piece. A hook may use the
// engine for other sequences than those of the pass, up to beginning another pass; it may drop the
// pass it belongs to; and it may throw: what it throws comes out of the call that advanced the pass
// (Pass::advance(), Engine::forward(), prefill(), decode()), and the pass is dropped.
struct ForwardHooks {
  std::function<void(const LogitsRow&)> logits;
  std::function<void(const HiddenRow&)> hidden;
  std::function<void(const SelectionRow&)> selection;
  bool selection_scores = false;  // run the indexer even where everything is selected
};

}  // namespace dsa

#pragma GCC visibility pop
