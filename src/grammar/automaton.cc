#include "grammar/automaton.h"

#include <algorithm>
#include <cstddef>
#include <unordered_set>
#include <utility>

#include "grammar/scalars.h"

namespace dsa::grammar {
namespace {

constexpr size_t kMaxReadings = 4096;  // of one state
constexpr size_t kMaxStates = 8192;    // kept; each with 1 KB of steps
constexpr size_t kMaxStacks = 1U << 20U;
constexpr int32_t kMaxDepth = 256;  // frames; about four for a level of JSON
constexpr size_t kBytes = 256;

int32_t count(int64_t n, int64_t least, int64_t most) {
  const int64_t relevant = most >= 0 ? most : std::max<int64_t>(least, 1);
  return static_cast<int32_t>(std::min(n, relevant));
}

}  // namespace

size_t Automaton::FrameHash::operator()(const Frame& frame) const {
  uint64_t h = 0x9E3779B97F4A7C15U;
  for (const int32_t part : {frame.rule, frame.at, frame.extra, frame.below}) {
    h ^= static_cast<uint32_t>(part);
    h *= 0xBF58476D1CE4E5B9U;
    h ^= h >> 29U;
  }
  return h;
}

Automaton::Automaton(const Grammar::Rules& rules) : rules_(&rules), frames_(1), depths_(1) {
  todo_ = {push(rules.root, kDone)};
  start_ = intern(close());
}

Automaton::StackId Automaton::push(RuleId rule_id, int32_t at, int32_t extra, StackId below) {
  const Frame frame{rule_id, at, extra, below};
  const auto [found, added] = stack_ids_.emplace(frame, static_cast<StackId>(frames_.size()));
  if (added) {
    frames_.push_back(frame);
    depths_.push_back(depths_[static_cast<size_t>(below)] + 1);
  }
  return found->second;
}

std::vector<Automaton::StackId> Automaton::close() {
  ready_.clear();
  std::unordered_set<StackId> met;
  while (!todo_.empty()) {
    const StackId stack = todo_.back();
    todo_.pop_back();
    if (!met.insert(stack).second) continue;
    if (met.size() > 4 * kMaxReadings || ready_.size() > kMaxReadings) {
      overflowed_ = true;
      todo_.clear();
      return {};
    }
    open(stack);
  }
  std::sort(ready_.begin(), ready_.end());
  return ready_;
}

// One reading: kept when it takes bytes, replaced by what it begins with, followed by what comes
// after it where it may end.
void Automaton::open(StackId stack) {
  if (stack == kDone) {
    ready_.push_back(stack);
    return;
  }
  const Frame frame = frames_[static_cast<size_t>(stack)];
  const Rule& r = rule(frame.rule);
  switch (r.kind) {
    case RuleKind::kSequence: {
      const auto i = static_cast<size_t>(frame.at);
      const bool last = i + 1 == r.children.size();
      const StackId rest = last ? frame.below : push(frame.rule, frame.at + 1, 0, frame.below);
      todo_.push_back(push(r.children[i], rest));
      return;
    }
    case RuleKind::kChoice:
      for (const RuleId child : r.children)
        todo_.push_back(push(child, frame.below));
      return;
    case RuleKind::kRepeat:
      if (frame.at >= r.least) todo_.push_back(frame.below);
      if (r.most < 0 || frame.at < r.most) {
        const int32_t next = count(int64_t{frame.at} + 1, r.least, r.most);
        todo_.push_back(push(r.children[0], push(frame.rule, next, 0, frame.below)));
      }
      return;
    case RuleKind::kArray:
      return open_array(frame);
    case RuleKind::kSet:
      return open_set(frame);
    case RuleKind::kObject:
      return open_object(frame);
    case RuleKind::kAny:
      return open_any(frame, stack);
    case RuleKind::kSpace:
      todo_.push_back(frame.below);
      if (frame.at >= 0) ready_.push_back(stack);
      return;
    case RuleKind::kNumber:
    case RuleKind::kInteger:
      if (number_may_end(frame.at)) todo_.push_back(frame.below);
      ready_.push_back(stack);
      return;
    case RuleKind::kDfa: {
      const Dfa::State& at = r.dfa->states[static_cast<size_t>(frame.at)];
      if (at.accepts && frame.extra >= r.least) todo_.push_back(frame.below);
      if (!at.edges.empty()) ready_.push_back(stack);
      return;
    }
    case RuleKind::kLiteral:
    case RuleKind::kString:
    case RuleKind::kName:
    case RuleKind::kRaw:
      ready_.push_back(stack);
  }
}

// frame.at: how many items have come; frame.extra: the same, as far as the listed ones go.
void Automaton::open_array(const Frame& frame) {
  const Rule& r = rule(frame.rule);
  if (frame.at >= r.least) todo_.push_back(push(r.close, frame.below));
  if (r.most >= 0 && frame.at >= r.most) return;
  const auto listed = static_cast<size_t>(frame.extra);
  const Member& item = listed < r.members.size() ? r.members[listed] : r.others;
  if (item.first < 0) return;
  const int32_t next = count(int64_t{frame.at} + 1, r.least, r.most);
  const auto next_listed = static_cast<int32_t>(std::min(listed + 1, r.members.size()));
  const StackId rest = push(frame.rule, next, next_listed, frame.below);
  todo_.push_back(push(frame.at == 0 ? item.first : item.later, rest));
}

// frame.at: how many items have come; frame.extra: a bit for each.
void Automaton::open_set(const Frame& frame) {
  const Rule& r = rule(frame.rule);
  if (frame.at >= r.least) todo_.push_back(push(r.close, frame.below));
  if (r.most >= 0 && frame.at >= r.most) return;
  for (size_t i = 0; i < r.members.size(); ++i) {
    const auto bit = static_cast<int32_t>(1U << i);
    if ((frame.extra & bit) != 0) continue;
    const StackId rest = push(frame.rule, frame.at + 1, frame.extra | bit, frame.below);
    todo_.push_back(push(frame.at == 0 ? r.members[i].first : r.members[i].later, rest));
  }
}

// frame.at: the first member that may still come; frame.extra: how many have come, as far as it
// matters.
void Automaton::open_object(const Frame& frame) {
  const Rule& r = rule(frame.rule);
  const int32_t n = count(int64_t{frame.extra} + 1, r.least, r.most);
  const bool more = r.most < 0 || frame.extra < r.most;
  const auto add = [&](const Member& member, size_t next) {
    if (!more || !may_reach_count(r, next, n)) return;
    const StackId rest = push(frame.rule, static_cast<int32_t>(next), n, frame.below);
    todo_.push_back(push(frame.extra == 0 ? member.first : member.later, rest));
  };
  for (auto i = static_cast<size_t>(frame.at); i < r.members.size(); ++i) {
    add(r.members[i], i + 1);
    if (r.members[i].required) return;
  }
  if (frame.extra >= r.least) todo_.push_back(push(r.close, frame.below));
  if (r.others.first >= 0) add(r.others, r.members.size());
}

// Whether an object of `n` members whose next may be members[next] can still have as many as it
// should.
bool Automaton::may_reach_count(const Rule& object, size_t next, int64_t n) const {
  const auto listed = static_cast<int64_t>(object.members.size() - next);
  if (object.others.first < 0 && n + listed < object.least) return false;
  if (object.most < 0) return true;
  const auto first = object.members.begin() + static_cast<std::ptrdiff_t>(next);
  const auto required = std::count_if(first, object.members.end(),
                                      [](const Member& member) { return member.required; });
  return n + required <= object.most;
}

void Automaton::open_any(const Frame& frame, StackId stack) {
  const bool deep = depths_[static_cast<size_t>(stack)] > kMaxDepth;
  todo_.push_back(push(rule(frame.rule).children[deep ? 0 : 1], frame.below));
}

StateId Automaton::intern(std::vector<StackId> stacks) {
  if (stacks.empty()) return kDead;
  const auto fresh = static_cast<StateId>(states_.size());
  const auto [found, added] = state_ids_.emplace(std::move(stacks), fresh);
  if (added) states_.push_back({found->first, {}});
  return found->second;
}

StateId Automaton::step(StateId state, uint8_t byte) {
  if (state == kDead) return kDead;
  std::vector<StateId>& next = states_[static_cast<size_t>(state)].next;
  if (next.empty()) next.assign(kBytes, kUnknown);
  if (next[byte] != kUnknown) return next[byte];
  const StateId made = make_step(state, byte);
  states_[static_cast<size_t>(state)].next[byte] = made;  // states_ may have moved
  return made;
}

StateId Automaton::make_step(StateId state, uint8_t byte) {
  if (frames_.size() > kMaxStacks) {
    overflowed_ = true;
    return kDead;
  }
  todo_.clear();
  const std::vector<StackId> stacks = states_[static_cast<size_t>(state)].stacks;
  for (const StackId stack : stacks) {
    if (stack != kDone) advance(frames_[static_cast<size_t>(stack)], byte);
  }
  return intern(close());
}

void Automaton::advance(Frame frame, uint8_t byte) {
  switch (rule(frame.rule).kind) {
    case RuleKind::kLiteral:
      return advance_literal(frame, byte);
    case RuleKind::kName:
      return advance_name(frame, byte);
    case RuleKind::kRaw:
      return advance_raw(frame, byte);
    case RuleKind::kString:
      return advance_string(frame, byte);
    case RuleKind::kDfa:
      return advance_dfa(frame, byte);
    case RuleKind::kSpace: {
      const int32_t at = step_space(frame.at, byte);
      if (at != kRefused) todo_.push_back(push(frame.rule, at, 0, frame.below));
      return;
    }
    case RuleKind::kNumber:
    case RuleKind::kInteger: {
      const bool integer = rule(frame.rule).kind == RuleKind::kInteger;
      const NumberAt to = step_number({frame.at, frame.extra}, byte, integer);
      if (to.at != kRefused) todo_.push_back(push(frame.rule, to.at, to.digits, frame.below));
      return;
    }
    default:
      return;  // opened by close(): never in a state
  }
}

void Automaton::advance_literal(const Frame& frame, uint8_t byte) {
  const std::string& text = rule(frame.rule).text;
  const auto at = static_cast<size_t>(frame.at);
  if (static_cast<uint8_t>(text[at]) != byte) return;
  const bool whole = at + 1 == text.size();
  todo_.push_back(whole ? frame.below : push(frame.rule, frame.at + 1, 0, frame.below));
}

// frame.extra: how many characters are whole, as far as it matters.
void Automaton::advance_string(const Frame& frame, uint8_t byte) {
  const Rule& r = rule(frame.rule);
  const int32_t at = step_string(frame.at, byte);
  if (at == kRefused) return;
  if (at == kStringDone) {
    if (frame.extra >= r.least) todo_.push_back(frame.below);
    return;
  }
  const bool begun = frame.at != 0;  // the opening quote is behind
  const bool begins_character = begun && between_characters(frame.at);
  if (begins_character && r.most >= 0 && frame.extra >= r.most) return;
  int32_t n = frame.extra;
  if (begun && between_characters(at) && (r.least > 0 || r.most >= 0)) {
    n = count(int64_t{n} + 1, r.least, r.most);
  }
  todo_.push_back(push(frame.rule, at, n, frame.below));
}

// frame.extra: how many characters are whole, as far as it matters.
void Automaton::advance_dfa(const Frame& frame, uint8_t byte) {
  const Rule& r = rule(frame.rule);
  const Dfa::Edge* edge = r.dfa->step(frame.at, byte);
  if (edge == nullptr) return;
  const bool counts = r.least > 0 || r.most >= 0;
  const Dfa::State& to = r.dfa->states[static_cast<size_t>(edge->to)];
  int32_t n = frame.extra;
  if (counts && edge->ends_character) {
    if (r.most >= 0 && int64_t{n} + 1 + to.least_more > r.most) return;
    n = count(int64_t{n} + 1, r.least, r.most);
  }
  if (to.edges.empty() && n < r.least) return;
  todo_.push_back(push(frame.rule, edge->to, n, frame.below));
}

// frame.extra: the node of the trie of names this one could still become, -1 when none.
void Automaton::advance_name(const Frame& frame, uint8_t byte) {
  const NameTrie& names = rule(frame.rule).names;
  if (byte == '\\') return;
  const int32_t at = step_string(frame.at, byte);
  if (at == kRefused) return;
  if (at == kStringDone) {
    const bool taken = frame.extra >= 0 && names.nodes[static_cast<size_t>(frame.extra)].end;
    if (!taken) todo_.push_back(frame.below);
    return;
  }
  int32_t node = frame.extra;
  if (frame.at != 0 && node >= 0) node = names.step(node, static_cast<char>(byte));
  todo_.push_back(push(frame.rule, at, node, frame.below));
}

// frame.at: bytes of the terminator matched; frame.extra: position in a character.
void Automaton::advance_raw(const Frame& frame, uint8_t byte) {
  const std::string& end = rule(frame.rule).text;
  const int32_t utf8 = step_utf8(frame.extra, byte);
  if (utf8 == kRefused) return;
  const int32_t matched = step_match(end, frame.at, byte);
  const bool whole = static_cast<size_t>(matched) == end.size();
  todo_.push_back(whole ? frame.below : push(frame.rule, matched, utf8, frame.below));
}

bool Automaton::may_end(StateId state) const {
  return state != kDead && states_[static_cast<size_t>(state)].stacks.front() == kDone;
}

bool Automaton::must_end(StateId state) const {
  return may_end(state) && states_[static_cast<size_t>(state)].stacks.size() == 1;
}

StateId Automaton::compact(StateId state) {
  if (states_.size() < kMaxStates && frames_.size() < kMaxStacks / 2) return state;
  ++generation_;
  const std::vector<StackId> kept = states_[static_cast<size_t>(state)].stacks;
  const std::vector<Frame> old = std::exchange(frames_, std::vector<Frame>(1));
  depths_.assign(1, 0);
  stack_ids_.clear();
  states_.clear();
  state_ids_.clear();
  std::vector<StackId> stacks;
  for (const StackId stack : kept)
    stacks.push_back(copy_stack(old, stack));
  std::sort(stacks.begin(), stacks.end());
  start_ = kDead;  // asked for at the beginning only
  return intern(std::move(stacks));
}

Automaton::StackId Automaton::copy_stack(const std::vector<Frame>& old, StackId stack) {
  std::vector<Frame> frames;
  for (StackId at = stack; at != kDone; at = old[static_cast<size_t>(at)].below)
    frames.push_back(old[static_cast<size_t>(at)]);
  StackId copy = kDone;
  for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame)
    copy = push(frame->rule, frame->at, frame->extra, copy);
  return copy;
}

}  // namespace dsa::grammar
