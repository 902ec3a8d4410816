// Finds tokens spelled out in a text: leftmost first, the longest of those that start there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsa {

class AddedTokens {
 public:
  struct Token {
    std::string content;  // not empty, no two the same
    int32_t id;
  };
  struct Match {
    std::size_t begin;
    std::size_t end;
    int32_t id;
  };

  AddedTokens() = default;
  explicit AddedTokens(std::vector<Token> tokens);

  // The first token in `text` at or after byte `from`.
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  const Token* longest_at(std::string_view text, std::size_t begin) const;

  std::vector<Token> tokens_;  // by content
  std::array<bool, 256> starts_{};
};

}  // namespace dsa
