#include "grammar/rules.h"

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
      any_object_(object({}, any_)),
      any_array_(array(any_, 0, -1)) {
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

RuleId RuleBuilder::array(RuleId item, int64_t least, int64_t most) {
  Rule rule;
  rule.kind = RuleKind::kArray;
  rule.children = {close_array_, sequence({space_, item}), sequence({comma_, space_, item})};
  rule.least = least;
  rule.most = most;
  const RuleId rest = add(std::move(rule));
  return sequence({literal("["), rest});
}

Member RuleBuilder::member(RuleId name, RuleId value, bool required) {
  const RuleId pair = sequence({name, literal(":"), space_, value});
  return {sequence({space_, pair}), sequence({comma_, space_, pair}), required};
}

RuleId RuleBuilder::object(const std::vector<Property>& properties, RuleId others) {
  Rule rule;
  rule.kind = RuleKind::kObject;
  rule.close = close_object_;
  Rule other_name;
  other_name.kind = RuleKind::kName;
  for (const Property& property : properties) {
    const std::string name = dump_json_string(property.name);
    other_name.names.insert(std::string_view(name).substr(1, name.size() - 2));
    rule.members.push_back(member(literal(name), property.value, property.required));
  }
  if (others >= 0) rule.others = member(add(std::move(other_name)), others, false);
  const RuleId rest = add(std::move(rule));
  return sequence({literal("{"), rest});
}

Grammar::Rules RuleBuilder::take(RuleId root) {
  return {std::move(rules_), root};
}

}  // namespace dsa::grammar
