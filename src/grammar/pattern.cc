#include "grammar/pattern.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "grammar/pattern_tree.h"

namespace dsa::grammar {
namespace {

constexpr size_t kMaxNodes = 4096;
constexpr size_t kMaxStates = 4096;  // over characters
constexpr size_t kMaxByteStates = 1U << 17U;
constexpr size_t kMaxWork = 1U << 22U;  // nodes of all states together

// A non-deterministic automaton over characters.
struct Node {
  std::vector<int32_t> always, at_begin, at_end;  // steps that take no character
  CodePointSet set;                               // of the step that takes one
  int32_t to = -1;                                // -1: there is none
};
using Nodes = std::vector<Node>;

class NodeBuilder {
 public:
  // From the first node, text that holds the pattern; after the last, anything may follow.
  Result<Nodes> build(const PatternNode& pattern) {
    const int32_t before = add(), begin = add();
    loop(before);
    always(before, begin);
    const int32_t end = append(pattern, begin);
    const int32_t after = add();
    loop(after);
    always(end, after);
    if (full()) return unsupported("the pattern is too large");
    return std::move(nodes_);
  }

 private:
  bool full() const { return nodes_.size() > kMaxNodes; }
  Node& node(int32_t i) { return nodes_[static_cast<size_t>(i)]; }
  int32_t add() {
    nodes_.emplace_back();
    return static_cast<int32_t>(nodes_.size() - 1);
  }
  void always(int32_t from, int32_t to) { node(from).always.push_back(to); }
  void loop(int32_t at) {
    node(at).set = CodePointSet(0, kLastCodePoint);
    node(at).to = at;
  }

  // Appends what `part` matches to node `from`; gives the node where it has matched.
  int32_t append(const PatternNode& part, int32_t from);
  int32_t append_repeat(const PatternNode& part, int32_t from);

  Nodes nodes_;
};

int32_t NodeBuilder::append(const PatternNode& part, int32_t from) {
  if (full()) return from;
  switch (part.kind) {
    case PatternKind::kSequence:
      for (const PatternNode& child : part.children)
        from = append(child, from);
      return from;
    case PatternKind::kRepeat:
      return append_repeat(part, from);
    default:
      break;
  }
  const int32_t to = add();
  if (part.kind == PatternKind::kBegin) node(from).at_begin.push_back(to);
  if (part.kind == PatternKind::kEnd) node(from).at_end.push_back(to);
  if (part.kind == PatternKind::kCharacter) {
    const int32_t one = add();  // a node takes one character at most
    always(from, one);
    node(one).set = part.set;
    node(one).to = to;
  }
  for (const PatternNode& child : part.children) {  // of a choice
    const int32_t branch = add();
    always(from, branch);
    always(append(child, branch), to);
  }
  return to;
}

int32_t NodeBuilder::append_repeat(const PatternNode& part, int32_t from) {
  for (int64_t i = 0; i < part.least && !full(); ++i)
    from = append(part.children[0], from);
  const int32_t to = add();
  if (part.most < 0) {
    always(from, to);
    always(append(part.children[0], to), to);
    return to;
  }
  for (int64_t i = part.least; i < part.most && !full(); ++i) {
    always(from, to);
    from = append(part.children[0], from);
  }
  always(from, to);
  return to;
}

// States of a deterministic automaton over characters that also counts them.
struct State {
  struct Edge {
    CodePointSet set;
    int32_t to = 0;
  };
  std::vector<Edge> edges;
  bool accepts = false;
};

class StateBuilder {
 public:
  StateBuilder(const Nodes& nodes, Lengths lengths) : nodes_(&nodes), lengths_(lengths) {}

  Result<std::vector<State>> build();

 private:
  using Subset = std::vector<int32_t>;  // ascending
  using Key = std::pair<Subset, int64_t>;

  const Node& node(int32_t i) const { return (*nodes_)[static_cast<size_t>(i)]; }
  int32_t last() const { return static_cast<int32_t>(nodes_->size()) - 1; }
  Subset closed(Subset from, bool begin, bool end) const;
  int32_t state_of(Subset from, int64_t count, bool begin);
  bool accepts(const Subset& subset, int64_t count, bool begin) const;
  void add_edges(size_t state);

  const Nodes* nodes_;
  Lengths lengths_;
  std::map<Key, int32_t> ids_;
  std::vector<Key> keys_;
  std::vector<State> states_;
  size_t work_ = 0;
};

StateBuilder::Subset StateBuilder::closed(Subset from, bool begin, bool end) const {
  std::vector<bool> met(nodes_->size(), false);
  Subset out;
  const auto add = [&](const std::vector<int32_t>& steps) {
    from.insert(from.end(), steps.begin(), steps.end());
  };
  while (!from.empty()) {
    const int32_t at = from.back();
    from.pop_back();
    if (met[static_cast<size_t>(at)]) continue;
    met[static_cast<size_t>(at)] = true;
    out.push_back(at);
    add(node(at).always);
    if (begin) add(node(at).at_begin);
    if (end) add(node(at).at_end);
  }
  std::sort(out.begin(), out.end());
  // Found already: whatever else was begun does not matter.
  return !out.empty() && out.back() == last() ? Subset{last()} : out;
}

bool StateBuilder::accepts(const Subset& subset, int64_t count, bool begin) const {
  if (count < lengths_.least) return false;
  const Subset at_end = closed(subset, begin, true);
  return !at_end.empty() && at_end.back() == last();
}

int32_t StateBuilder::state_of(Subset from, int64_t count, bool begin) {
  Subset subset = closed(std::move(from), begin, false);
  work_ += subset.size();
  const int64_t relevant = lengths_.most >= 0 ? lengths_.most : lengths_.least;
  const Key key(std::move(subset), std::min(count, relevant));
  const auto [found, added] = ids_.emplace(key, static_cast<int32_t>(states_.size()));
  if (added) {
    keys_.push_back(key);
    states_.push_back({{}, accepts(key.first, key.second, begin)});
  }
  return found->second;
}

// Cuts the characters where any node's set begins or ends: each piece leads to one state.
void StateBuilder::add_edges(size_t state) {
  const auto [subset, count] = keys_[state];
  if (lengths_.most >= 0 && count >= lengths_.most) return;
  std::vector<uint32_t> cuts = {0, kLastCodePoint + 1};
  for (const int32_t i : subset) {
    if (node(i).to < 0) continue;
    for (const CodePointRange& range : node(i).set.ranges())
      cuts.insert(cuts.end(), {range.first, range.last + 1});
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::map<Subset, std::vector<CodePointRange>> pieces;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    Subset to;
    for (const int32_t from : subset) {
      if (node(from).to >= 0 && node(from).set.contains(cuts[i])) to.push_back(node(from).to);
    }
    work_ += subset.size();
    if (!to.empty()) pieces[std::move(to)].push_back({cuts[i], cuts[i + 1] - 1});
  }
  for (auto& [to, ranges] : pieces) {
    const int32_t next = state_of(to, count + 1, false);
    states_[state].edges.push_back({CodePointSet::of(std::move(ranges)), next});
  }
}

Result<std::vector<State>> StateBuilder::build() {
  state_of({0}, 0, true);
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_.size() > kMaxStates || work_ > kMaxWork) {
      return unsupported("the pattern needs too many states");
    }
    add_edges(i);
  }
  return std::move(states_);
}

// Spells every character as bytes.
class ByteBuilder {
 public:
  ByteBuilder(const std::vector<State>& states, Spelling spelling)
      : states_(&states), json_(spelling == Spelling::kJson), spelling_(spelling) {}

  Result<Dfa> build();

 private:
  void add(int32_t from, const std::vector<ByteRange>& bytes, int32_t to);

  const std::vector<State>* states_;
  bool json_;
  Spelling spelling_;
  Dfa dfa_;
};

void ByteBuilder::add(int32_t from, const std::vector<ByteRange>& bytes, int32_t to) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    auto& edges = dfa_.states[static_cast<size_t>(from)].edges;
    const bool last = i + 1 == bytes.size();
    const auto found = std::find_if(edges.begin(), edges.end(), [&](const Dfa::Edge& edge) {
      return edge.first == bytes[i].first && edge.last == bytes[i].last;
    });
    const auto fresh = static_cast<int32_t>(dfa_.states.size());
    const int32_t next = last ? to : found != edges.end() ? found->to : fresh;
    if (last || found == edges.end()) edges.push_back({bytes[i].first, bytes[i].last, next, last});
    if (next == fresh) dfa_.states.emplace_back();
    from = next;
  }
}

// In JSON, the opening quote comes before the first state, and the closing one leads to the second.
Result<Dfa> ByteBuilder::build() {
  const int32_t first = json_ ? 2 : 0;
  dfa_.states.resize(states_->size() + static_cast<size_t>(first));
  constexpr uint8_t kQuote = '"';
  if (json_) {
    dfa_.states[0].edges.push_back({kQuote, kQuote, first, false});
    dfa_.states[1].accepts = true;
  }
  const std::vector<int32_t> least = steps_to_end(*states_);
  dfa_.states[0].least_more = least[0];
  for (size_t i = 0; i < states_->size(); ++i) {
    const State& state = (*states_)[i];
    const int32_t from = first + static_cast<int32_t>(i);
    for (const State::Edge& edge : state.edges) {
      for (const auto& bytes : spelled(edge.set, spelling_))
        add(from, bytes, first + edge.to);
    }
    Dfa::State& made = dfa_.states[static_cast<size_t>(from)];
    made.least_more = least[i];
    if (state.accepts && json_) made.edges.push_back({kQuote, kQuote, 1, false});
    if (state.accepts && !json_) made.accepts = true;
    if (dfa_.states.size() > kMaxByteStates)
      return unsupported("the pattern needs too many states");
  }
  if (!drop_dead_ends(dfa_.states)) return Dfa();
  return std::move(dfa_);
}

}  // namespace

Result<Dfa> pattern_dfa(std::string_view pattern, Lengths lengths, Spelling spelling) {
  DSA_ASSIGN_OR_RETURN(const PatternNode tree, parse_pattern(pattern));
  DSA_ASSIGN_OR_RETURN(const Nodes nodes, NodeBuilder().build(tree));
  DSA_ASSIGN_OR_RETURN(std::vector<State> states, StateBuilder(nodes, lengths).build());
  if (!drop_dead_ends(states)) return Dfa();
  return ByteBuilder(states, spelling).build();
}

}  // namespace dsa::grammar
