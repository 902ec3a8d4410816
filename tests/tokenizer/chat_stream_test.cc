#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dsa/chat.h"

namespace dsa {
namespace {

using Kind = CompletionPart::Kind;

ParsedCompletion read(std::string_view text, size_t step, bool thinking, bool tools = true) {
  CompletionStream stream(thinking, tools);
  ParsedCompletion out;
  const auto add = [&out](const std::vector<CompletionPart>& parts) {
    for (const CompletionPart& part : parts) {
      if (part.kind == Kind::kReasoning) out.reasoning += part.text;
      if (part.kind == Kind::kContent) out.content += part.text;
      if (part.kind == Kind::kCallName) out.tool_calls.push_back({part.text, ""});
      if (part.kind == Kind::kCallArguments) {
        out.tool_calls.at(static_cast<size_t>(part.call)).arguments += part.text;
      }
    }
  };
  for (size_t at = 0; at < text.size(); at += step)
    add(stream.push(text.substr(at, step)));
  add(stream.finish());
  return out;
}

// What an assistant with these calls writes, taken from the prompt of a conversation that goes on.
std::string written(const std::string& content, const std::vector<ToolCall>& calls) {
  std::vector<ChatMessage> messages(2);
  messages[0].role = "user";
  messages[1].role = "assistant";
  messages[1].content = content;
  messages[1].tool_calls = calls;
  const auto all = encode_chat(messages, {});
  messages.resize(1);
  const auto before = encode_chat(messages, {});
  EXPECT_TRUE(all.ok() && before.ok());
  return all->substr(before->size());
}

const std::string& end_of_sentence() {
  static const std::string kEnd = [] {
    const std::string text = written("x", {});
    return text.substr(1);
  }();
  return kEnd;
}

TEST(CompletionStream, GivesWhatParseCompletionGivesHoweverTheTextIsCut) {
  const std::vector<ToolCall> calls = {
      {"weather", R"({"city": "Aix < \"x\"\nen", "days": 3, "list": [1, {"a": null}]})"},
      {"now", "{}"},
      {"then", R"({"at": true})"}};
  for (const std::string& content : {std::string(), std::string("Let me see.\n\n")}) {
    std::string text = written(content, calls);
    text = text.substr(0, text.size() - end_of_sentence().size());
    const auto whole = parse_completion(text, false);
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    ASSERT_EQ(whole->tool_calls.size(), 3U);
    for (size_t step = 1; step <= text.size(); ++step) {
      const ParsedCompletion parsed = read(text, step, false);
      ASSERT_EQ(parsed.content, whole->content) << step;
      ASSERT_EQ(parsed.tool_calls.size(), 3U) << step;
      for (size_t i = 0; i < 3; ++i) {
        ASSERT_EQ(parsed.tool_calls[i].name, whole->tool_calls[i].name) << step;
        ASSERT_EQ(parsed.tool_calls[i].arguments, whole->tool_calls[i].arguments) << step;
      }
    }
  }
}

TEST(CompletionStream, ReasoningEndsAtItsMarker) {
  for (size_t step = 1; step < 12; ++step) {
    const ParsedCompletion parsed = read("a < b </thi </think>so\n\n<b", step, true);
    EXPECT_EQ(parsed.reasoning, "a < b </thi ") << step;
    EXPECT_EQ(parsed.content, "so\n\n<b") << step;
  }
  EXPECT_EQ(read("never done </thi", 3, true).reasoning, "never done </thi");
}

TEST(CompletionStream, WithoutToolsABlockOfCallsIsContent) {
  const std::string text = written("", {{"now", "{}"}});
  EXPECT_EQ(read(text, 5, false, false).content, text);
}

TEST(CompletionStream, ABlockThatNamesNoCallIsContent) {
  std::string text = written("hm", {{"now", "{}"}});
  text = text.substr(0, text.find("invoke")) + "else> and more";
  for (size_t step = 1; step < 30; ++step) {
    EXPECT_EQ(read(text, step, false).content, text) << step;
    EXPECT_TRUE(read(text, step, false).tool_calls.empty()) << step;
  }
}

TEST(CompletionStream, ACallThatBreaksOffIsStillAJsonObject) {
  const std::string whole = written("", {{"f", R"({"a": "x", "b": 2})"}});
  for (size_t end = 0; end < whole.size(); ++end) {
    for (const ToolCall& call : read(whole.substr(0, end), 7, false).tool_calls) {
      EXPECT_TRUE(nlohmann::json::parse(call.arguments, nullptr, false).is_object())
          << end << ": " << call.arguments;
    }
  }
}

}  // namespace
}  // namespace dsa
