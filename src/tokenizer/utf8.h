// Well-formedness of UTF-8, one character at a time (Unicode 15, table 3-7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dsa {

enum class Utf8Kind : uint8_t {
  kWhole,      // a character
  kIllFormed,  // a maximal part that no well-formed text contains
  kUnfinished  // the text ends inside a character
};

struct Utf8Part {
  std::size_t n_bytes;  // at least 1
  Utf8Kind kind;
};

// The part that `text` begins with; text must not be empty.
Utf8Part first_utf8_part(std::string_view text);

bool is_ascii(std::string_view text);

// The value of one whole character; U+FFFD for a part that is none.
uint32_t code_point(std::string_view character);

void append_utf8(uint32_t code, std::string& out);

// Appends `text` to `out` with U+FFFD for each ill-formed part; gives how many bytes were used up:
// all but those of a character that the text leaves unfinished.
std::size_t append_well_formed(std::string_view text, std::string& out);

// U+FFFD, the replacement character.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace dsa
