// Characters and classes of a pattern: what both sides of a [ share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dsa/status.h"

#include "tokenizer/code_point_set.h"

namespace dsa {

// A place in a pattern.
class PatternCursor {
 public:
  explicit PatternCursor(std::string_view text) : text_(text) {}

  std::size_t at() const { return at_; }
  bool done() const { return at_ >= text_.size(); }
  bool is(std::string_view next) const { return text_.substr(at_, next.size()) == next; }
  bool take(std::string_view next);  // passes over it when it is next
  char peek() const { return text_[at_]; }
  char take_byte() { return text_[at_++]; }
  uint32_t take_code_point();             // of UTF-8
  std::string_view take_until(char end);  // and the end itself; all of the rest without one
  std::optional<uint32_t> take_number(int base, std::size_t max_digits);

  Status corrupt(std::string_view what) const;
  Status unsupported(std::string_view what) const;

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// The set of a letter that stands for one after a backslash (d, D, w, W, s, S, h, H); in a class \w
// lacks the six characters of Latin-1.
std::optional<CodePointSet> escaped_set(char letter, bool in_class);

// \p{Name} or \P{^Name}, from the letter on, which must be followed by a brace.
Result<CodePointSet> read_property(PatternCursor& in);

// The character that an escape stands for, from behind the backslash on.
Result<uint32_t> read_escaped_character(PatternCursor& in);

// A class, from behind its [ on. Ignoring case adds what is the same letter.
Result<CodePointSet> read_class(PatternCursor& in, bool ignore_case);

// One character, or all that are the same letter.
Result<CodePointSet> character_set(const PatternCursor& in, uint32_t code, bool ignore_case);

}  // namespace dsa
