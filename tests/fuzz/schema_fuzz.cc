// Any text as a JSON schema: refused, or a grammar that every walk through it follows, and whose
// texts are JSON. The last bytes choose the way.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dsa/grammar.h"

namespace {

constexpr size_t kSteps = 48;

void check(bool promise) {
  if (!promise) std::abort();
}

const dsa::Tokenizer& tokenizer() {
  static const auto kTokenizer = dsa::Tokenizer::open(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
  check(kTokenizer.ok());
  return *kTokenizer;
}

std::shared_ptr<const dsa::GrammarTokens> tokens() {
  static const auto kTokens = dsa::GrammarTokens::create(tokenizer(), std::vector<int32_t>{1});
  return kTokens;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string schema(reinterpret_cast<const char*>(data), size);
  const auto grammar = dsa::Grammar::json_schema(schema);
  if (!grammar.ok()) {
    check(!grammar.status().message().empty());
    return 0;
  }
  dsa::GrammarMatcher matcher(*grammar, tokens());
  std::string text;
  for (size_t step = 0; step < kSteps; ++step) {
    std::vector<float> logits(2048, 0.0F);
    if (!matcher.mask(logits).ok()) return 0;  // too ambiguous: said so
    std::vector<int32_t> allowed;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (std::isfinite(logits[i])) allowed.push_back(static_cast<int32_t>(i));
    }
    const int32_t id = allowed[(data[size - 1 - step % size] * 31U + step) % allowed.size()];
    check(matcher.accept(id).ok());
    if (id == 1) break;
    text += tokenizer().token_text(id);
    if (matcher.must_end()) break;
  }
  if (matcher.may_end()) check(nlohmann::json::accept(text));
  return 0;
}
