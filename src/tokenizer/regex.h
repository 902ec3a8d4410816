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
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "tokenizer/alphabet.h"
#include "tokenizer/pattern.h"

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
};

// What a regular expression is compiled from.
struct Pattern {
  std::string name;  // what errors call it
  std::vector<PatternPart> parts;

  // literal: the pattern matches only itself.
  // Errors   see read_pattern()
  static Result<Pattern> read(std::string name, std::string_view spelled, bool literal);

  // An alphabet that tells apart what these do.
  // Errors   kUnsupported: more than 128 kinds of characters
  static Result<Alphabet> alphabet(std::span<const Pattern* const> patterns);
};

struct RegexMatch {
  std::size_t begin;
  std::size_t end;
};

class Regex {
 public:
  // The pattern must be one that the alphabet is of.
  // Errors   kCorruption: PCRE2 refuses the pattern; the message has its reason and place
  static Result<Regex> compile(const Pattern& pattern, const Alphabet& alphabet);

 private:
  friend class RegexMatches;
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Regex(pcre2_real_code_8* code) : code_(code) {}

  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

// The matches in a string of symbols, left to right; none overlap, and an empty one does not follow
// another match without a gap.
class RegexMatches {
 public:
  RegexMatches(const Regex& regex, std::string_view symbols, RegexScratch& scratch)
      : regex_(regex), symbols_(symbols), scratch_(scratch) {}

  // Errors   kResourceExhausted: more backtracking than the scratch allows
  Result<std::optional<RegexMatch>> next();

 private:
  int match() const;

  const Regex& regex_;
  std::string_view symbols_;
  RegexScratch& scratch_;
  std::size_t from_ = 0;                 // where the next search begins
  std::optional<std::size_t> last_end_;  // of a match
};

}  // namespace dsa
