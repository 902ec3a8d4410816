// A tokenizer.json small enough to change one field at a time.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "dsa/tokenizer.h"

namespace dsa::test {

using Json = nlohmann::ordered_json;

// How byte-level BPE spells a byte, written from its description: printable Latin-1 as it is, the
// rest in order from U+0100.
inline std::string spell_byte(int byte) {
  const auto printable = [](int b) {
    return (b > 32 && b < 127) || (b > 160 && b < 256 && b != 173);
  };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b)
      code += printable(b) ? 0 : 1;
  }
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

inline std::string spell(std::string_view text) {
  std::string spelled;
  for (const char c : text)
    spelled += spell_byte(static_cast<unsigned char>(c));
  return spelled;
}

// The 256 bytes as ids 0..255, then one id per merge; no split; added token <end> last.
inline Json tiny_json(const std::vector<std::pair<std::string, std::string>>& merges) {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte)
    vocab[spell_byte(byte)] = byte;
  Json list = Json::array();
  for (const auto& [left, right] : merges) {
    const std::string both = spell(left + right);
    if (!vocab.contains(both)) vocab[both] = vocab.size();
    list.push_back(Json::array({spell(left), spell(right)}));
  }
  return {
      {"added_tokens", {{{"id", vocab.size()}, {"content", "<end>"}, {"special", true}}}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

// The file must be good.
inline Tokenizer parse_good(const Json& json) {
  auto result = Tokenizer::parse(json.dump());
  EXPECT_TRUE(result.ok()) << result.status().message();
  return std::move(result).value();
}

// The texts of the tokens that `text` is cut into.
inline std::vector<std::string> cut(const Tokenizer& tokenizer,
                                    std::string_view text,
                                    bool special_tokens = true) {
  const auto ids = tokenizer.encode(text, special_tokens);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  std::vector<std::string> texts;
  if (ids.ok()) {
    for (const int32_t id : *ids)
      texts.emplace_back(tokenizer.token_text(id));
  }
  return texts;
}

}  // namespace dsa::test
