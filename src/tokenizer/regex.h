// Regular expressions of a tokenizer file: read by pattern.h, reduced to symbols by alphabet.h, and
// matched over those by PCRE2 (JIT where it works). PCRE2 sees bytes and no Unicode, so that the
// matches do not depend on which PCRE2 it is.
//
// ^ and $ match at line ends. Backtracking into groups is bounded; scanning a repeated character is
// not counted, so a pattern can still be written to take quadratic time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dsa/status.h"

#include "tokenizer/alphabet.h"

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
  friend class RegexMatches;
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
  std::string symbols_;        // room for those of ...
  std::size_t n_symbols_ = 0;  // ... the texts that are being matched, one behind the other
};

struct RegexMatch {
  std::size_t begin;
  std::size_t end;
};

class Regex {
 public:
  // literal: the pattern matches only itself.
  // Errors   kCorruption: not a regular expression; the message has the reason and the place
  //          kUnsupported: an expression of something else than characters' kinds, see pattern.h
  static Result<Regex> compile(std::string_view pattern, bool literal);

 private:
  friend class RegexMatches;
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  Regex() = default;

  std::unique_ptr<pcre2_real_code_8, Free> code_;  // null: literal_ is the pattern
  Alphabet alphabet_;
  std::string literal_;
};

// The matches in one text, left to right; none overlap, and an empty one does not follow another
// match without a gap. Of several on one scratch, the last one made is the first to go.
class RegexMatches {
 public:
  // `text` must be UTF-8 and stay where it is.
  RegexMatches(const Regex& regex, std::string_view text, RegexScratch& scratch);
  ~RegexMatches();
  RegexMatches(const RegexMatches&) = delete;
  RegexMatches& operator=(const RegexMatches&) = delete;

  // Errors   kResourceExhausted: more backtracking than the scratch allows
  Result<std::optional<RegexMatch>> next();

 private:
  int find_literal(RegexMatch& found);
  int find_symbols(RegexMatch& found);
  int match(std::string_view subject) const;
  std::size_t byte_of(std::size_t symbol);

  const Regex& regex_;
  std::string_view text_;
  RegexScratch& scratch_;
  std::size_t base_;  // where the symbols begin
  std::size_t n_symbols_ = 0;
  bool plain_;              // the text's bytes are its symbols
  std::size_t from_ = 0;    // a symbol, or a byte for a literal: where the next search begins
  std::size_t passed_ = 0;  // a symbol, and ...
  std::size_t byte_ = 0;    // ... its byte
  std::optional<std::size_t> last_end_;  // of a match, in bytes
};

}  // namespace dsa
