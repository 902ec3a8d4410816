#include "grammar/rules.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "tokenizer/python_json.h"

namespace dsa::grammar {

void NameTrie::insert(std::string_view name) {
  int32_t node = 0;
  for (const char c : name) {
    const auto fresh = static_cast<int32_t>(nodes.size());
    const auto [found, added] = nodes[static_cast<size_t>(node)].next.emplace(c, fresh);
    node = found->second;
    if (added) nodes.emplace_back();
  }
  nodes[static_cast<size_t>(node)].end = true;
}

int32_t NameTrie::step(int32_t node, char byte) const {
  const auto& next = nodes[static_cast<size_t>(node)].next;
  const auto found = next.find(byte);
  return found == next.end() ? -1 : found->second;
}

RuleBuilder::RuleBuilder()
    : space_(add_kind(RuleKind::kSpace)),
      comma_(literal(",")),
      close_array_(sequence({space_, literal("]")})),
      close_object_(sequence({space_, literal("}")})),
      string_(add_kind(RuleKind::kString)),
      number_(add_kind(RuleKind::kNumber)),
      integer_(add_kind(RuleKind::kInteger)),
      boolean_(choice({literal("true"), literal("false")})),
      null_(literal("null")),
      any_(add_kind(RuleKind::kAny)),
      any_object_(object({{}, any_, -1, 0, -1})),
      any_array_(array({}, any_, 0, -1)) {
  const RuleId scalars = choice({string_, number_, boolean_, null_});
  const RuleId values = choice({scalars, any_object_, any_array_});
  rules_[static_cast<size_t>(any_)].children = {scalars, values};
}

RuleId RuleBuilder::add(Rule rule) {
  rules_.push_back(std::move(rule));
  return static_cast<RuleId>(rules_.size() - 1);
}

RuleId RuleBuilder::add_kind(RuleKind kind) {
  Rule rule;
  rule.kind = kind;
  return add(std::move(rule));
}

RuleId RuleBuilder::literal(std::string_view text) {
  Rule rule;
  rule.text = text;
  return add(std::move(rule));
}

RuleId RuleBuilder::sequence(std::vector<RuleId> children) {
  Rule rule;
  rule.kind = RuleKind::kSequence;
  rule.children = std::move(children);
  return add(std::move(rule));
}

RuleId RuleBuilder::choice(std::vector<RuleId> children) {
  Rule rule;
  rule.kind = RuleKind::kChoice;
  rule.children = std::move(children);
  return add(std::move(rule));
}

RuleId RuleBuilder::repeat(RuleId child, int64_t least, int64_t most) {
  Rule rule;
  rule.kind = RuleKind::kRepeat;
  rule.children = {child};
  rule.least = least;
  rule.most = most;
  return add(std::move(rule));
}

RuleId RuleBuilder::raw(std::string_view terminator) {
  Rule rule;
  rule.kind = RuleKind::kRaw;
  rule.text = terminator;
  return add(std::move(rule));
}

Member RuleBuilder::item(RuleId value) {
  return {sequence({space_, value}), sequence({comma_, space_, value}), false};
}

RuleId RuleBuilder::array(const std::vector<RuleId>& items,
                          RuleId others,
                          int64_t least,
                          int64_t most) {
  Rule rule;
  rule.kind = RuleKind::kArray;
  rule.close = close_array_;
  rule.least = least;
  rule.most = most;
  for (const RuleId value : items)
    rule.members.push_back(item(value));
  if (others >= 0) rule.others = item(others);
  const RuleId rest = add(std::move(rule));
  return sequence({literal("["), rest});
}

RuleId RuleBuilder::set(const std::vector<RuleId>& items, int64_t least, int64_t most) {
  Rule rule;
  rule.kind = RuleKind::kSet;
  rule.close = close_array_;
  rule.least = least;
  rule.most = most;
  for (const RuleId value : items)
    rule.members.push_back(item(value));
  const RuleId rest = add(std::move(rule));
  return sequence({literal("["), rest});
}

RuleId RuleBuilder::string(int64_t least, int64_t most) {
  Rule rule;
  rule.kind = RuleKind::kString;
  rule.least = least;
  rule.most = most;
  return add(std::move(rule));
}

RuleId RuleBuilder::dfa(Dfa dfa, int64_t least, int64_t most) {
  Rule rule;
  rule.kind = RuleKind::kDfa;
  rule.least = least;
  rule.most = most;
  rule.dfa = std::make_shared<const Dfa>(std::move(dfa));
  return add(std::move(rule));
}

RuleId RuleBuilder::declare() {
  return add_kind(RuleKind::kChoice);
}

void RuleBuilder::define(RuleId declared, RuleId rule) {
  rules_[static_cast<size_t>(declared)].children = {rule};
}

Member RuleBuilder::member(RuleId name, RuleId value, bool required) {
  const RuleId pair = sequence({name, literal(":"), space_, value});
  return {sequence({space_, pair}), sequence({comma_, space_, pair}), required};
}

RuleId RuleBuilder::object(const Object& object) {
  Rule rule;
  rule.kind = RuleKind::kObject;
  rule.close = close_object_;
  rule.least = object.least;
  rule.most = object.most;
  Rule unlisted;
  unlisted.kind = RuleKind::kName;
  for (const Property& property : object.properties) {
    const std::string name = dump_json_string(property.name);
    unlisted.names.insert(std::string_view(name).substr(1, name.size() - 2));
    rule.members.push_back(member(literal(name), property.value, property.required));
  }
  if (object.others >= 0) {
    const RuleId name = object.other_name >= 0 ? object.other_name : add(std::move(unlisted));
    rule.others = member(name, object.others, false);
  }
  const RuleId rest = add(std::move(rule));
  return sequence({literal("{"), rest});
}

// known: the rules of which it is certain.
bool RuleBuilder::can_end(const Rule& rule, const std::vector<bool>& known) const {
  const auto ends = [&](RuleId id) { return known[static_cast<size_t>(id)]; };
  switch (rule.kind) {
    case RuleKind::kSequence:
      return std::all_of(rule.children.begin(), rule.children.end(), ends);
    case RuleKind::kChoice:
      return std::any_of(rule.children.begin(), rule.children.end(), ends);
    case RuleKind::kRepeat:
      return rule.least == 0 || ends(rule.children[0]);
    case RuleKind::kObject: {
      const auto n = std::count_if(rule.members.begin(), rule.members.end(),
                                   [&](const Member& m) { return ends(m.first); });
      if (n < rule.least && (rule.others.first < 0 || !ends(rule.others.first))) return false;
      return std::all_of(rule.members.begin(), rule.members.end(),
                         [&](const Member& m) { return !m.required || ends(m.first); });
    }
    case RuleKind::kArray: {
      const auto n = std::min(static_cast<size_t>(rule.least), rule.members.size());
      const bool listed =
          std::all_of(rule.members.begin(), rule.members.begin() + static_cast<std::ptrdiff_t>(n),
                      [&](const Member& m) { return ends(m.first); });
      const bool more = static_cast<size_t>(rule.least) > n;
      return listed && (!more || (rule.others.first >= 0 && ends(rule.others.first)));
    }
    default:
      return true;
  }
}

void RuleBuilder::drop_endless(Rule& rule, const std::vector<bool>& ends) const {
  const auto endless = [&](RuleId id) { return !ends[static_cast<size_t>(id)]; };
  if (rule.kind == RuleKind::kChoice) std::erase_if(rule.children, endless);
  if (rule.others.first >= 0 && endless(rule.others.first)) rule.others = {};
  const auto first = std::find_if(rule.members.begin(), rule.members.end(),
                                  [&](const Member& m) { return endless(m.first); });
  if (first == rule.members.end()) return;
  if (rule.kind == RuleKind::kObject) {
    std::erase_if(rule.members, [&](const Member& m) { return endless(m.first); });
    return;
  }
  rule.members.erase(first, rule.members.end());  // an array cannot go past it
  rule.others = {};
}

bool RuleBuilder::can_end(RuleId root) {
  std::vector<bool> known(rules_.size(), false);
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < rules_.size(); ++i) {
      if (known[i] || !can_end(rules_[i], known)) continue;
      known[i] = true;
      changed = true;
    }
  }
  for (Rule& rule : rules_)
    drop_endless(rule, known);
  return known[static_cast<size_t>(root)];
}

Grammar::Rules RuleBuilder::take(RuleId root) {
  return {std::move(rules_), root};
}

}  // namespace dsa::grammar
