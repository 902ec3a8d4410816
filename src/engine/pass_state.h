// What a Pass stands on: one batch, and the scratch that it is computed in.
//
// An engine has one state for each pass that may be under way at a time; a Pass is a ticket for it,
// good until the pass ends.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dsa/engine.h"

#include "cache/page_pool.h"
#include "cache/sequence.h"
#include "layers/forward_pass.h"

namespace dsa {

class Pass::State {
 public:
  // pool must outlive the object.
  State(std::unique_ptr<ForwardPass> forward, int64_t max_tokens, PagePool* pool);

  bool under_way() const { return under_way_; }
  bool computes(SequenceId id) const;
  bool holds(uint64_t ticket) const { return ticket == ticket_; }
  int64_t max_tokens() const { return max_tokens_; }
  int64_t scratch_bytes() const { return forward_->scratch_bytes(); }

  // Takes a batch, whose tokens it copies. ids and sequences: [steps], each with room for its
  // tokens. Returns the ticket of the pass.
  uint64_t begin(std::span<const PlacedStep> steps,
                 std::span<const SequenceId> ids,
                 std::span<SequencePages* const> sequences,
                 ForwardHooks hooks);

  // Runs the next piece; false: there is no other, or the pass was dropped by a hook, or it is one
  // of its hooks that calls.
  bool advance();

  // Ends the pass without effect; from one of its hooks, when the piece has ended.
  void drop();

 private:
  void end(bool completed);

  const std::unique_ptr<ForwardPass> forward_;
  const int64_t max_tokens_;
  PagePool* const pool_;

  uint64_t ticket_ = 0;     // of the pass under way, or of one that ended
  bool under_way_ = false;  // until what was reserved is used or given back
  bool in_piece_ = false;   // hooks are being called
  bool dropped_ = false;    // in the piece
  std::vector<PlacedStep> steps_;
  std::vector<SequenceId> ids_;            // [steps]
  std::vector<SequencePages*> sequences_;  // [steps]
  std::vector<int32_t> tokens_;            // of all steps
  ForwardHooks hooks_;
};

}  // namespace dsa
