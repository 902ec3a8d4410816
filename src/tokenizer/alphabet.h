// Alphabet: what a pattern tells apart, as one byte per character.
//
// A character below U+0080 is its own symbol. The others fall into kinds: two are of one kind when
// every set of the pattern has both or neither. Kind k is the symbol 0x80 + k. A pattern over
// symbols needs to know nothing of Unicode.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/code_point_set.h"

namespace dsa {

class Alphabet {
 public:
  using Symbols = std::bitset<256>;

  // Nothing when the sets make more than 128 kinds.
  static std::optional<Alphabet> of(std::span<const CodePointSet> sets);

  // The symbols of the characters of a set, which must be one of those.
  Symbols symbols_of(const CodePointSet& set) const;

  // Writes the symbols of `text`, which must be UTF-8, and the byte that each begins at; gives how
  // many, at most its bytes.
  std::size_t symbols_of(std::string_view text, char* symbols, uint32_t* bytes) const;

 private:
  static constexpr uint32_t kBlockBits = 7;
  static constexpr uint32_t kBlock = 1U << kBlockBits;
  using Block = std::array<char, kBlock>;

  uint8_t symbol(uint32_t code) const {
    return static_cast<uint8_t>(blocks_[index_[code >> kBlockBits]][code & (kBlock - 1)]);
  }
  void fill();

  std::vector<uint32_t> starts_;  // where a set begins or ends, from U+0080 on
  std::vector<uint8_t> kinds_;    // from there to the next start
  std::vector<uint16_t> index_;   // by code point >> kBlockBits
  std::vector<Block> blocks_;     // no two the same
};

// A text as patterns over an alphabet see it. Less than 4 GiB.
class SymbolText {
 public:
  // `text` must be UTF-8 and stay where it is.
  SymbolText(const Alphabet& alphabet, std::string_view text);

  std::string_view symbols() const {
    return plain_ ? text_ : std::string_view(symbols_).substr(0, n_);
  }
  std::size_t byte_of(std::size_t symbol) const { return plain_ ? symbol : bytes_[symbol]; }
  std::string_view text(std::size_t begin, std::size_t end) const {  // of symbols
    return text_.substr(byte_of(begin), byte_of(end) - byte_of(begin));
  }

 private:
  std::string_view text_;
  bool plain_;  // ASCII: its bytes are its symbols
  std::size_t n_ = 0;
  std::string symbols_;
  std::vector<uint32_t> bytes_;  // and the end of the text
};

}  // namespace dsa
