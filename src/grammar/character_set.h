// The characters that ECMA-262's patterns name, and how characters are spelled.
#pragma once

#include <cstdint>
#include <vector>

#include "tokenizer/code_point_set.h"

namespace dsa::grammar {

CodePointSet digit_characters();
CodePointSet word_characters();
CodePointSet space_characters();
CodePointSet line_ends();

enum class Spelling : uint8_t {
  kJson,  // between the quotes of a JSON string: `"`, `\` and controls are escaped, nothing else
  kPlain  // as UTF-8
};

struct ByteRange {
  uint8_t first = 0, last = 0;
  bool operator==(const ByteRange&) const = default;
};

// The byte strings that spell the set's characters (no surrogates), as sequences of ranges. Two
// sequences that begin differently have no byte in common there.
std::vector<std::vector<ByteRange>> spelled(const CodePointSet& set, Spelling spelling);

}  // namespace dsa::grammar
