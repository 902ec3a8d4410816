// A forward pass that its caller advances.
#include <algorithm>
#include <utility>

#include "engine/pass_state.h"

namespace dsa {

Pass::State::State(std::unique_ptr<ForwardPass> forward, int64_t max_tokens, PagePool* pool)
    : forward_(std::move(forward)), max_tokens_(max_tokens), pool_(pool) {}

bool Pass::State::computes(SequenceId id) const {
  return under_way_ && std::find(ids_.begin(), ids_.end(), id) != ids_.end();
}

uint64_t Pass::State::begin(std::span<const PlacedStep> steps,
                            std::span<const SequenceId> ids,
                            std::span<SequencePages* const> sequences,
                            ForwardHooks hooks) {
  steps_.assign(steps.begin(), steps.end());
  ids_.assign(ids.begin(), ids.end());
  sequences_.assign(sequences.begin(), sequences.end());
  hooks_ = std::move(hooks);
  tokens_.clear();
  for (const PlacedStep& step : steps)
    tokens_.insert(tokens_.end(), step.tokens.begin(), step.tokens.end());
  std::span<const int32_t> left = tokens_;
  for (PlacedStep& step : steps_) {
    const size_t n = step.tokens.size();
    step.tokens = left.first(n);
    left = left.subspan(n);
  }
  forward_->begin(steps_, hooks_);
  under_way_ = true;
  return ++ticket_;
}

bool Pass::State::advance() {
  if (!under_way_ || in_piece_) return false;
  // Ends the pass where a hook throws or drops it.
  struct Piece {
    State* state;
    bool more = false;
    bool completed = false;
    ~Piece() {
      state->in_piece_ = false;
      if (!more || state->dropped_) state->end(completed && !state->dropped_);
    }
  };
  in_piece_ = true;
  dropped_ = false;
  Piece piece{this};
  piece.more = forward_->advance();
  piece.completed = true;
  return piece.more && !dropped_;
}

void Pass::State::drop() {
  if (in_piece_) {
    dropped_ = true;
  } else {
    end(false);
  }
}

// What was stored beyond the ends of the sequences is not theirs, and written again before it is
// read.
void Pass::State::end(bool completed) {
  for (size_t s = 0; s < steps_.size(); ++s) {
    if (completed) {
      sequences_[s]->commit(static_cast<int64_t>(steps_[s].tokens.size()));
    } else {
      sequences_[s]->trim(pool_);
    }
  }
  ++ticket_;
  under_way_ = false;
  hooks_ = {};
}

Pass::Pass(State* state, uint64_t ticket) : state_(state), ticket_(ticket) {}

Pass::Pass(Pass&& other) noexcept
    : state_(std::exchange(other.state_, nullptr)), ticket_(other.ticket_) {}

Pass& Pass::operator=(Pass&& other) noexcept {
  if (this == &other) return *this;
  drop();
  state_ = std::exchange(other.state_, nullptr);
  ticket_ = other.ticket_;
  return *this;
}

Pass::~Pass() {
  drop();
}

bool Pass::under_way() const {
  return state_ != nullptr && state_->holds(ticket_);
}

bool Pass::advance() {
  return under_way() && state_->advance();
}

void Pass::drop() {
  if (under_way()) state_->drop();
  state_ = nullptr;
}

}  // namespace dsa
