// Any bytes as messages or as a completion must end in a Status, and what a completion parses to
// must encode and parse to the same again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/chat.h"

namespace {

void encode(std::string_view text) {
  for (const bool thinking : {false, true}) {
    const auto prompt = dsa::encode_chat(text, {.thinking = thinking});
    if (prompt.ok() ? prompt->empty() : prompt.status().message().empty()) std::abort();
  }
}

bool same(const dsa::ParsedCompletion& a, const dsa::ParsedCompletion& b) {
  if (a.content != b.content || a.reasoning != b.reasoning) return false;
  if (a.tool_calls.size() != b.tool_calls.size()) return false;
  for (std::size_t i = 0; i < a.tool_calls.size(); ++i) {
    if (a.tool_calls[i].name != b.tool_calls[i].name) return false;
    if (a.tool_calls[i].arguments != b.tool_calls[i].arguments) return false;
  }
  return true;
}

// The completion again, as the encoder writes it.
dsa::Result<std::string> rewrite(const dsa::ParsedCompletion& parsed, bool thinking) {
  dsa::ChatMessage user;
  user.role = "user";
  dsa::ChatMessage assistant;
  assistant.role = "assistant";
  assistant.content = parsed.content;
  assistant.reasoning = parsed.reasoning;
  assistant.tool_calls = parsed.tool_calls;
  const std::vector<dsa::ChatMessage> messages = {user, assistant};
  const auto prompt = dsa::encode_chat(std::span(messages).first(1), {.thinking = thinking});
  auto whole = dsa::encode_chat(messages, {.thinking = thinking});
  if (!prompt.ok()) std::abort();
  if (!whole.ok()) return whole;
  return whole->substr(prompt->size());
}

// Rewriting may respell JSON once ([1,2] as [1, 2]); from then on nothing changes.
void parse(std::string_view text, bool thinking) {
  const auto first = dsa::parse_completion(text, thinking);
  if (!first.ok()) {
    if (first.status().message().empty()) std::abort();
    return;
  }
  const auto written = rewrite(*first, thinking);
  if (!written.ok()) return;  // e.g. no reasoning, or arguments that are not UTF-8
  const auto second = dsa::parse_completion(*written, thinking);
  if (!second.ok()) std::abort();
  const auto again = rewrite(*second, thinking);
  if (!again.ok()) std::abort();
  const auto third = dsa::parse_completion(*again, thinking);
  if (!third.ok() || !same(*second, *third)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  encode(text);
  parse(text, false);
  parse(text, true);
  return 0;
}
