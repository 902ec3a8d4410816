// Walks a grammar byte by byte.
//
// A reading of the text so far is a stack of frames: the innermost is the rule the next byte
// belongs to, each other one what follows when the frame above has ended. Stacks share their lower
// parts. A state is the set of all open readings; states and the steps between them are made when
// first needed and kept.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "grammar/rules.h"

namespace dsa::grammar {

using StateId = int32_t;
inline constexpr StateId kDead = -1;  // no reading is left

class Automaton {
 public:
  explicit Automaton(const Grammar::Rules& rules);

  StateId start() const { return start_; }
  StateId step(StateId state, uint8_t byte);
  bool may_end(StateId state) const;
  bool must_end(StateId state) const;

  // True once a state had to be given up because it held too many readings.
  bool overflowed() const { return overflowed_; }

  // Forgets everything but `state` when much has been kept; gives its new id. All other ids are
  // void once generation() has changed.
  StateId compact(StateId state);
  int64_t generation() const { return generation_; }

 private:
  using StackId = int32_t;
  static constexpr StackId kDone = 0;  // the empty stack: the text is whole
  struct Frame {
    RuleId rule = -1;
    int32_t at = 0;     // where in the rule
    int32_t extra = 0;  // a second position, where a rule needs one
    StackId below = kDone;
    bool operator==(const Frame&) const = default;
  };
  struct FrameHash {
    size_t operator()(const Frame& frame) const;
  };
  struct State {
    std::vector<StackId> stacks;  // ascending
    std::vector<StateId> next;    // [256] once a step was asked for; kUnknown: not yet made
  };
  static constexpr StateId kUnknown = -2;

  const Rule& rule(RuleId id) const { return rules_->rules[static_cast<size_t>(id)]; }
  StackId push(RuleId rule, int32_t at, int32_t extra, StackId below);
  StackId push(RuleId rule, StackId below) { return push(rule, 0, 0, below); }

  // Collects the readings that can take a byte, or are whole, from those in todo_.
  std::vector<StackId> close();
  void open(StackId stack);
  void open_array(const Frame& frame);
  void open_set(const Frame& frame);
  void open_object(const Frame& frame);
  bool may_reach_count(const Rule& object, size_t next, int64_t n) const;
  void open_any(const Frame& frame, StackId stack);
  StateId intern(std::vector<StackId> stacks);
  StateId make_step(StateId state, uint8_t byte);
  void advance(Frame frame, uint8_t byte);  // by value: frames_ grows
  void advance_literal(const Frame& frame, uint8_t byte);
  void advance_dfa(const Frame& frame, uint8_t byte);
  void advance_string(const Frame& frame, uint8_t byte);
  void advance_name(const Frame& frame, uint8_t byte);
  void advance_raw(const Frame& frame, uint8_t byte);
  StackId copy_stack(const std::vector<Frame>& old, StackId stack);

  const Grammar::Rules* rules_;
  std::vector<Frame> frames_;
  std::vector<int32_t> depths_;  // of each stack
  std::unordered_map<Frame, StackId, FrameHash> stack_ids_;
  std::vector<State> states_;
  std::map<std::vector<StackId>, StateId> state_ids_;
  std::vector<StackId> todo_;
  std::vector<StackId> ready_;
  StateId start_ = kDead;
  int64_t generation_ = 0;
  bool overflowed_ = false;
};

}  // namespace dsa::grammar
