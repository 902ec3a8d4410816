// Grammars over the tokens of a small checkpoint, and which texts they take.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dsa/grammar.h"
#include "dsa/tokenizer.h"

namespace dsa {

inline constexpr int32_t kEnd = 1;

inline const Tokenizer& tokenizer() {
  static const Result<Tokenizer> result =
      Tokenizer::open(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
  EXPECT_TRUE(result.ok()) << result.status().message();
  return *result;
}

inline std::shared_ptr<const GrammarTokens> tokens() {
  static const auto table = GrammarTokens::create(tokenizer(), std::vector<int32_t>{kEnd});
  return table;
}

inline Grammar schema(const std::string& text) {
  auto grammar = Grammar::json_schema(text);
  EXPECT_TRUE(grammar.ok()) << text << ": " << grammar.status().message();
  return *grammar;
}

// Whether the text, fed byte by byte, may stand and end there.
inline bool accepts(const Grammar& grammar, const std::string& text) {
  GrammarMatcher matcher(grammar, tokens());
  for (const char c : text) {
    const auto ids = tokenizer().encode(std::string(1, c));
    for (const int32_t id : *ids) {
      if (!matcher.accept(id).ok()) return false;
    }
  }
  return matcher.may_end();
}

}  // namespace dsa
