// JSON schema's `pattern`: a subset of ECMA-262's regular expressions, as an automaton over bytes.
#pragma once

#include <cstdint>
#include <string_view>

#include "dsa/status.h"

#include "grammar/character_set.h"
#include "grammar/dfa.h"

namespace dsa::grammar {

// How many characters a text may have.
struct Lengths {
  int64_t least = 0;
  int64_t most = -1;  // -1: no bound
};

// The texts in which the pattern is found somewhere (^ and $ tie it to an end) and whose length is
// within bounds, in the given spelling; Spelling::kJson with its quotes. An empty automaton: there
// are none.
//   Syntax   characters, `.`, classes with ranges, \d \w \s \D \W \S, \t \n \r \f \v \0 \xHH \uHHHH
//            escaped punctuation, groups (also named), |, * + ? {n} {n,} {n,m} and their lazy
//            forms, ^ and $
//   Errors   kUnsupported: anything else (look-around, back references, \b, \p), or an automaton of
//            too many states; kInvalidArgument: not a pattern. Says what and where
Result<Dfa> pattern_dfa(std::string_view pattern, Lengths lengths, Spelling spelling);

}  // namespace dsa::grammar
