// The rules a grammar is made of: a graph of small nodes that the automaton walks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dsa/grammar.h"

#include "grammar/dfa.h"

namespace dsa::grammar {

using RuleId = int32_t;

enum class RuleKind : uint8_t {
  kLiteral,   // text
  kSequence,  // children one after the other
  kChoice,    // one of the children
  kRepeat,    // children[0], least to most times
  kArray,     // what follows "[": close, members in their order, then others; least to most items
  kSet,       // what follows "[": close, members in any order, each once; least to most items
  kObject,    // what follows "{": members in their order, then others; least to most of them
  kSpace,     // nothing, one space, or a line break and spaces
  kString,    // a JSON string with its quotes, of least to most characters
  kName,      // a JSON string without escapes that is none of `names`
  kNumber,
  kInteger,
  kDfa,  // what `dfa` accepts, of least to most characters
  kRaw,  // UTF-8 up to and including the first `text`
  kAny   // children: the scalars' choice, then all values' choice
};

// A member of an object, with its name, or an item of an array; either form ends with its value.
struct Member {
  RuleId first = -1;  // as the first one
  RuleId later = -1;  // after a comma
  bool required = false;
};

// A trie of strings, by bytes. Node 0 is the root.
struct NameTrie {
  struct Node {
    std::map<char, int32_t> next;
    bool end = false;
  };
  std::vector<Node> nodes{1};

  void insert(std::string_view name);
  int32_t step(int32_t node, char byte) const;  // -1: no name goes on so
};

struct Rule {
  RuleKind kind = RuleKind::kLiteral;
  std::string text;
  std::vector<RuleId> children;
  int64_t least = 0;
  int64_t most = -1;  // -1: no bound
  std::vector<Member> members;
  Member others;      // first < 0: no other members
  RuleId close = -1;  // kObject, kArray, kSet: what ends it
  NameTrie names;     // kName
  std::shared_ptr<const Dfa> dfa;
};

inline constexpr int32_t kMaxRules = 16384;
inline constexpr int32_t kMaxSet = 31;  // members of a kSet: bits of a frame

}  // namespace dsa::grammar

namespace dsa {

struct Grammar::Rules {
  std::vector<grammar::Rule> rules;
  grammar::RuleId root = -1;
};

}  // namespace dsa

namespace dsa::grammar {

// Builds rules; shared ones are made once.
class RuleBuilder {
 public:
  RuleBuilder();

  RuleId literal(std::string_view text);
  RuleId sequence(std::vector<RuleId> children);
  RuleId choice(std::vector<RuleId> children);
  RuleId repeat(RuleId child, int64_t least, int64_t most);
  // Items in order, then others; -1 when there may be none. most: -1 is no bound.
  RuleId array(const std::vector<RuleId>& items, RuleId others, int64_t least, int64_t most);
  // At most kMaxSet items in any order, each at most once.
  RuleId set(const std::vector<RuleId>& items, int64_t least, int64_t most);
  RuleId string(int64_t least, int64_t most);
  RuleId dfa(Dfa dfa, int64_t least = 0, int64_t most = -1);
  RuleId raw(std::string_view terminator);

  // A rule that is defined later: what a schema that refers to itself needs.
  RuleId declare();
  void define(RuleId declared, RuleId rule);
  // False for a rule whose every text contains another of its own, without end. Choices and
  // optional members of such rules are taken away.
  bool can_end(RuleId root);

  struct Property {
    std::string name;
    RuleId value = -1;
    bool required = false;
  };
  struct Object {
    std::vector<Property> properties;
    RuleId others = -1;      // values of further members, -1 when there may be none
    RuleId other_name = -1;  // their names with quotes; -1: any name that is not listed
    int64_t least = 0;       // members
    int64_t most = -1;       // -1: no bound
  };
  RuleId object(const Object& object);

  RuleId any() const { return any_; }
  RuleId any_object() const { return any_object_; }
  RuleId any_array() const { return any_array_; }
  RuleId string() const { return string_; }
  RuleId number() const { return number_; }
  RuleId integer() const { return integer_; }
  RuleId boolean() const { return boolean_; }
  RuleId null() const { return null_; }

  bool full() const { return rules_.size() > static_cast<size_t>(kMaxRules); }
  Grammar::Rules take(RuleId root);

 private:
  RuleId add(Rule rule);
  RuleId add_kind(RuleKind kind);
  Member member(RuleId name, RuleId value, bool required);
  Member item(RuleId value);
  bool can_end(const Rule& rule, const std::vector<bool>& known) const;
  void drop_endless(Rule& rule, const std::vector<bool>& ends) const;

  std::vector<Rule> rules_;
  RuleId space_, comma_, close_array_, close_object_, string_, number_, integer_, boolean_, null_;
  RuleId any_, any_object_, any_array_;
};

}  // namespace dsa::grammar
