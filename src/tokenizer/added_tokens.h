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
    std::string content;  // not empty
    int32_t id;
    bool single_word = false;  // not where a word goes on before or after it
    bool lstrip = false;       // takes the white space before it
    bool rstrip = false;       // takes the white space after it
  };
  struct Match {
    std::size_t begin;  // with the white space that it takes
    std::size_t end;
    std::size_t content_end;  // where the next one may begin: behind it, white space apart
    int32_t id;
  };

  AddedTokens() = default;
  explicit AddedTokens(std::vector<Token> tokens);  // of two with one content, the first counts

  // The first token in `text` whose content begins at or after byte `from`.
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  const Token* longest_at(std::string_view text, std::size_t begin) const;

  std::vector<Token> tokens_;  // by content
  std::array<bool, 256> starts_{};
};

}  // namespace dsa
