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
#include <string_view>
#include <vector>

#include "tokenizer/code_point_set.h"

namespace dsa {

class Alphabet {
 public:
  using Symbols = std::bitset<256>;

  // Nothing when the sets make more than 128 kinds.
  static std::optional<Alphabet> of(std::span<const CodePointSet> sets);

  // The symbols of the characters of each set, in the order given.
  const std::vector<Symbols>& symbols() const { return symbols_; }

  // Writes the symbols of `text`, which must be UTF-8; gives how many, at most its bytes.
  std::size_t symbols_of(std::string_view text, char* symbols) const;

 private:
  static constexpr uint32_t kBlockBits = 7;
  static constexpr uint32_t kBlock = 1U << kBlockBits;
  using Block = std::array<char, kBlock>;

  uint8_t symbol(uint32_t code) const {
    return static_cast<uint8_t>(blocks_[index_[code >> kBlockBits]][code & (kBlock - 1)]);
  }
  static Symbols members_of(const CodePointSet& set,
                            std::span<const uint32_t> starts,
                            std::span<const uint8_t> kinds);
  void fill(std::span<const uint32_t> starts, std::span<const uint8_t> kinds);

  std::vector<Symbols> symbols_;
  std::vector<uint16_t> index_;  // by code point >> kBlockBits
  std::vector<Block> blocks_;    // no two the same
};

}  // namespace dsa
