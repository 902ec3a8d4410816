// What the schemas of tools say about their parameters: which kinds of JSON a value may be.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "tokenizer/python_json.h"

namespace dsa::chat {

// A set of JSON kinds; empty: not known.
class JsonKinds {
 public:
  void add(JsonKind kind) { bits_ |= bit(kind); }
  void add(JsonKinds other) { bits_ |= other.bits_; }
  bool known() const { return bits_ != 0; }
  bool has(JsonKind kind) const { return (bits_ & bit(kind)) != 0; }

 private:
  static unsigned bit(JsonKind kind) { return 1U << static_cast<unsigned>(kind); }
  unsigned bits_ = 0;
};

class ParameterTypes {
 public:
  // tools: as ChatMessage::tools; what is no list of tools tells nothing.
  explicit ParameterTypes(std::string_view tools);
  JsonKinds find(const std::string& function, const std::string& parameter) const;

 private:
  std::map<std::string, std::map<std::string, JsonKinds>> functions_;
};

// The JSON of a value that is written as it is (`text`, string="true") or, if it is JSON of a kind
// that the parameter may have, as JSON; anything else is text too.
std::string argument_json(std::string_view value, bool text, JsonKinds kinds);

// Whether a value that begins with `first` can only be text.
bool is_text(char first, JsonKinds kinds);

}  // namespace dsa::chat
