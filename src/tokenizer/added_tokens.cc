#include "tokenizer/added_tokens.h"

#include <algorithm>

namespace dsa {

AddedTokens::AddedTokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const Token& a, const Token& b) { return a.content < b.content; });
  for (const Token& token : tokens_)
    starts_[static_cast<uint8_t>(token.content[0])] = true;
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, std::size_t from) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    if (const Token* token = longest_at(text, begin)) {
      return Match{begin, begin + token->content.size(), token->id};
    }
  }
  return std::nullopt;
}

// Narrows the sorted tokens, byte by byte, to those that the text spells; the one that is spelled
// in full sorts first among them.
const AddedTokens::Token* AddedTokens::longest_at(std::string_view text, std::size_t begin) const {
  const Token* longest = nullptr;
  auto first = tokens_.begin();
  auto last = tokens_.end();
  for (std::size_t n = 0; first != last; ++n) {
    if (first->content.size() == n) {
      longest = &*first;
      if (++first == last) break;
    }
    if (begin + n == text.size()) break;
    const auto byte = static_cast<uint8_t>(text[begin + n]);
    const auto at = [n](const Token& token) { return static_cast<uint8_t>(token.content[n]); };
    first = std::partition_point(first, last, [&](const Token& t) { return at(t) < byte; });
    last = std::partition_point(first, last, [&](const Token& t) { return at(t) == byte; });
  }
  return longest;
}

}  // namespace dsa
