// Any bytes as messages or as a completion must end in a Status, what a completion parses to must
// encode and parse to the same again, and a stream gives the same wherever it is cut.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
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
  auto whole = dsa::encode_chat(messages, {.thinking = thinking, .open_turn = false});
  if (!prompt.ok()) std::abort();
  if (!whole.ok()) return whole;
  return whole->substr(prompt->size());
}

// Arguments that are not UTF-8 are no JSON.
bool has_json(const dsa::ParsedCompletion& parsed) {
  return std::all_of(parsed.tool_calls.begin(), parsed.tool_calls.end(),
                     [](const auto& call) { return nlohmann::json::accept(call.arguments); });
}

// Rewriting may respell JSON once ([1,2] as [1, 2]); from then on nothing changes.
void parse(std::string_view text, bool thinking) {
  const auto first = dsa::parse_completion(text, thinking);
  if (!first.ok()) {
    if (first.status().message().empty()) std::abort();
    return;
  }
  const auto written = rewrite(*first, thinking);
  if (!written.ok() || !has_json(*first)) return;
  const auto second = dsa::parse_completion(*written, thinking);
  if (!second.ok()) return;  // JSON text can hide the markup of a block in escapes
  const auto again = rewrite(*second, thinking);
  if (!again.ok()) std::abort();
  const auto third = dsa::parse_completion(*again, thinking);
  if (!third.ok() || !same(*second, *third)) std::abort();
}

constexpr std::string_view kTools =
    R"([{"function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}])";

struct Streamed {
  dsa::ParsedCompletion parsed;
  int64_t n_whole = 0;
};

Streamed stream(std::string_view text, std::size_t step, const dsa::CompletionFormat& format) {
  using Kind = dsa::CompletionPart::Kind;
  dsa::CompletionStream stream(format);
  Streamed out;
  const auto add = [&out](const std::vector<dsa::CompletionPart>& parts) {
    for (const dsa::CompletionPart& part : parts) {
      if (part.kind == Kind::kReasoning) out.parsed.reasoning += part.text;
      if (part.kind == Kind::kContent) out.parsed.content += part.text;
      if (part.kind == Kind::kCallName) out.parsed.tool_calls.push_back({part.text, ""});
      if (part.kind == Kind::kCallArguments) {
        out.parsed.tool_calls.at(static_cast<std::size_t>(part.call)).arguments += part.text;
      }
    }
  };
  for (std::size_t at = 0; at < text.size(); at += step)
    add(stream.push(text.substr(at, step)));
  add(stream.finish());
  out.n_whole = stream.n_whole_calls();
  return out;
}

// Names that the strict parser takes and a tag cannot have are left out.
bool plain_names(const dsa::ParsedCompletion& parsed) {
  return std::all_of(parsed.tool_calls.begin(), parsed.tool_calls.end(), [](const auto& call) {
    return !call.name.empty() && call.name.size() < 100 &&
           call.name.find_first_of("\"'>") == std::string::npos;
  });
}

void check_stream(std::string_view text, bool thinking) {
  using Calls = dsa::CompletionFormat::Calls;
  for (const Calls calls : {Calls::kText, Calls::kRead, Calls::kDropped}) {
    const dsa::CompletionFormat format{thinking, calls, std::string(kTools)};
    const Streamed whole = stream(text, std::max<std::size_t>(text.size(), 1), format);
    for (const std::size_t step : {1U, 2U, 7U, 64U}) {
      const Streamed pieces = stream(text, step, format);
      if (!same(pieces.parsed, whole.parsed) || pieces.n_whole != whole.n_whole) std::abort();
    }
    if (whole.n_whole > static_cast<int64_t>(whole.parsed.tool_calls.size())) std::abort();
  }
  // Without schemas, text in the format is what the strict parser makes of it.
  const auto strict = dsa::parse_completion(text, thinking);
  const bool comparable = strict.ok() && plain_names(*strict) &&
                          text.find("<｜end") == std::string_view::npos &&
                          text.find("<｜DSML｜parameter") == std::string_view::npos;
  if (!comparable) return;
  if (!same(stream(text, 3, {thinking, Calls::kRead, ""}).parsed, *strict)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  encode(text);
  parse(text, false);
  parse(text, true);
  check_stream(text, false);
  check_stream(text, true);
  return 0;
}
