#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/code_point_set.h"
#include "tokenizer/utf8.h"

namespace dsa {
namespace {

bool is_space(uint32_t code) {
  static const CodePointSet spaces = *posix_class("space");
  return spaces.contains(code);
}

// With the joiners, as in the regular expressions of Rust.
bool is_word(uint32_t code) {
  static const CodePointSet words = *posix_class("word");
  return words.contains(code) || code == 0x200C || code == 0x200D;
}

// The character that ends at byte `end`, which is not 0.
std::string_view character_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && end - begin < 4 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80)
    --begin;
  const std::string_view character = text.substr(begin, end - begin);
  const bool whole = first_utf8_part(character).n_bytes == character.size();
  return whole ? character : text.substr(end - 1, 1);
}

std::string_view character_after(std::string_view text, std::size_t begin) {
  return text.substr(begin, first_utf8_part(text.substr(begin)).n_bytes);
}

bool cuts_a_word(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin > 0 && is_word(code_point(character_before(text, begin)))) ||
         (end < text.size() && is_word(code_point(character_after(text, end))));
}

std::size_t space_begin(std::string_view text, std::size_t end) {
  while (end > 0 && is_space(code_point(character_before(text, end))))
    end -= character_before(text, end).size();
  return end;
}

std::size_t space_end(std::string_view text, std::size_t begin) {
  while (begin < text.size() && is_space(code_point(character_after(text, begin))))
    begin += character_after(text, begin).size();
  return begin;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const Token& a, const Token& b) { return a.content < b.content; });
  const auto same = [](const Token& a, const Token& b) { return a.content == b.content; };
  tokens_.erase(std::unique(tokens_.begin(), tokens_.end(), same), tokens_.end());
  for (const Token& token : tokens_)
    starts_[static_cast<uint8_t>(token.content[0])] = true;
}

// A token that would cut a word is passed over as a whole: none inside it is found.
std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, std::size_t from) const {
  for (std::size_t begin = from; begin < text.size();) {
    const Token* token =
        starts_[static_cast<uint8_t>(text[begin])] ? longest_at(text, begin) : nullptr;
    if (token == nullptr) {
      ++begin;
      continue;
    }
    const std::size_t end = begin + token->content.size();
    if (!token->single_word || !cuts_a_word(text, begin, end)) {
      return Match{token->lstrip ? space_begin(text, begin) : begin,
                   token->rstrip ? space_end(text, end) : end, end, token->id};
    }
    begin = end;
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
