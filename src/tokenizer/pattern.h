// Reads a regular expression of a tokenizer file: Oniguruma's dialect (Ruby syntax), the one the
// `tokenizers` library compiles these expressions with.
//
// What depends on characters becomes a set of code points, what does not becomes PCRE2's spelling
// of the same thing. So \s is White_Space, \h a hexadecimal digit, (?m) lets . match a line break,
// x{2}+ repeats x{2}, and classes have unions, && and [:names:]. \w outside of a class has six
// characters more (U+00B2, B3, B9, BC, BD, BE), as it has there. Refused  back-references, \G, \K,
// \X, conditions, callouts; ignoring case for more than ASCII
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "tokenizer/code_point_set.h"

namespace dsa {

struct PatternPart {
  std::string spelled;              // for PCRE2, when there is no set
  std::optional<CodePointSet> set;  // one character of it
  std::size_t at = 0;               // the byte of the pattern it comes from
};

// Errors   kCorruption: not an expression; kUnsupported: see Refused; both name the byte
Result<std::vector<PatternPart>> read_pattern(std::string_view pattern);

// The pattern that matches this text alone, which must be UTF-8.
Result<std::vector<PatternPart>> read_literal(std::string_view text);

}  // namespace dsa
