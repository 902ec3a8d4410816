// The rules that are small state machines of their own: numbers, strings, spaces, UTF-8.
//
// Each takes a position and a byte and gives the next position, or kRefused.
#pragma once

#include <cstdint>
#include <string_view>

namespace dsa::grammar {

inline constexpr int32_t kRefused = -1;

// UTF-8 between characters is 0. Refuses everything that is not well-formed.
int32_t step_utf8(int32_t at, uint8_t byte);

// A JSON string: 0 before its opening quote. kStringDone: its closing quote was taken.
inline constexpr int32_t kStringDone = 1000;
int32_t step_string(int32_t at, uint8_t byte);
bool between_characters(int32_t at);  // inside the quotes, none half written

// Digits of a JSON number on either side of its point: a double holds them all.
inline constexpr int32_t kMaxDigits = 15;

// A JSON number. `digits` counts those of the part being written.
struct NumberAt {
  int32_t at = 0;
  int32_t digits = 0;
};
NumberAt step_number(NumberAt from, uint8_t byte, bool integer);  // at == kRefused: refused
bool number_may_end(int32_t at);

// Nothing, a space, or a line break and up to 32 spaces; it may end anywhere.
int32_t step_space(int32_t at, uint8_t byte);

// The longest beginning of `word` that ends text whose longest was `matched` and then has `byte`.
int32_t step_match(std::string_view word, int32_t matched, uint8_t byte);

}  // namespace dsa::grammar
