// Regular expressions of a tokenizer file, by PCRE2 (JIT where it works, UTF, Unicode properties).
//
// ^ and $ match at line ends, as in the Oniguruma dialect these files are written for. Two known
// differences are left: \s here has U+180E as well, and character classes are those of the Unicode
// version PCRE2 was built with (10.42: Unicode 14). Backtracking into groups is bounded; scanning a
// repeated character is not counted, so a pattern can still be written to take quadratic time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "dsa/status.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace dsa {

// What matching works with, and the steps of backtracking it may still take. One thread at a time.
class RegexScratch {
 public:
  RegexScratch();

  // Call before each text: linear work fits the allowance, runaway backtracking does not.
  void allow_steps_for(std::size_t text_bytes);

 private:
  friend class Regex;
  struct Free {
    void operator()(pcre2_real_match_data_8* data) const;
    void operator()(pcre2_real_match_context_8* context) const;
    void operator()(pcre2_real_jit_stack_8* stack) const;
  };
  // Destroyed in reverse order: the context refers to the stack.
  std::unique_ptr<pcre2_real_jit_stack_8, Free> stack_;
  std::unique_ptr<pcre2_real_match_context_8, Free> context_;
  std::unique_ptr<pcre2_real_match_data_8, Free> data_;
  int64_t steps_left_ = 0;
};

struct RegexMatch {
  std::size_t begin;
  std::size_t end;
};

class Regex {
 public:
  // literal: the pattern matches only itself.
  // Errors   kCorruption: PCRE2 refuses the pattern; the message has its reason and place
  static Result<Regex> compile(std::string_view pattern, bool literal);

  // The first match that begins at or after byte `from` of `text`, which must be UTF-8.
  // Errors   kResourceExhausted: more backtracking than the scratch allows
  Result<std::optional<RegexMatch>> find(std::string_view text,
                                         std::size_t from,
                                         RegexScratch& scratch) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Regex(pcre2_real_code_8* code) : code_(code) {}

  int match(std::string_view text, std::size_t from, RegexScratch& scratch) const;

  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace dsa
