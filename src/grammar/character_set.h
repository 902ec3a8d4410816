// Sets of characters (Unicode scalar values: no surrogates).
#pragma once

#include <cstdint>
#include <vector>

namespace dsa::grammar {

inline constexpr uint32_t kLastCharacter = 0x10FFFF;

struct CharacterRange {
  uint32_t first = 0, last = 0;
  bool operator==(const CharacterRange&) const = default;
};

// Ascending, neither overlapping nor touching.
using CharacterSet = std::vector<CharacterRange>;

CharacterSet united(CharacterSet ranges);  // of ranges in any order
CharacterSet complement(const CharacterSet& set);

// The classes of ECMA-262.
CharacterSet digit_characters();
CharacterSet word_characters();
CharacterSet space_characters();
CharacterSet line_ends();

// How characters are spelled.
enum class Spelling : uint8_t {
  kJson,  // between the quotes of a JSON string: `"`, `\` and controls are escaped, nothing else
  kPlain  // as UTF-8
};

struct ByteRange {
  uint8_t first = 0, last = 0;
  bool operator==(const ByteRange&) const = default;
};

// The byte strings that spell the set's characters, as sequences of ranges. Two sequences that
// begin differently have no byte in common there.
std::vector<std::vector<ByteRange>> spelled(const CharacterSet& set, Spelling spelling);

}  // namespace dsa::grammar
