#include "dsa/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "dsa/tokenizer.h"

#include "tests/tokenizer/tiny_tokenizer.h"

namespace dsa {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

using test::tiny_json;

Tokenizer with_token(const std::string& text) {
  auto json = tiny_json({});
  json["added_tokens"][0]["content"] = text;
  auto tokenizer = Tokenizer::parse(json.dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return std::move(*tokenizer);
}

TEST(CheckChatEncoding, TakesDeepSeekV32WithItsTokensOrNoneForTurns) {
  EXPECT_TRUE(check_chat_encoding("deepseek_v32", with_token("<｜User｜>")).ok());
  EXPECT_TRUE(check_chat_encoding("deepseek_v32", with_token("</s>")).ok());
}

TEST(CheckChatEncoding, RefusesAnotherFamilyByItsModelTypeOrItsTokens) {
  const Status glm = check_chat_encoding("glm_moe_dsa", with_token("<|user|>"));
  EXPECT_EQ(glm.code(), StatusCode::kUnsupported);
  EXPECT_THAT(glm.message(), StartsWith("model_type: \"glm_moe_dsa\", want \"deepseek_v32\""));
  EXPECT_THAT(glm.message(), HasSubstr("can be completed as plain text"));
  const Status tokens = check_chat_encoding("deepseek_v32", with_token("<|im_start|>"));
  EXPECT_EQ(tokens.code(), StatusCode::kUnsupported);
  EXPECT_THAT(tokens.message(), StartsWith("tokenizer: has <|im_start|> and not <｜User｜>"));
}

constexpr ChatOptions kChat{};
constexpr ChatOptions kThinking{.thinking = true};

TEST(EncodeChat, LeavesOutTheBeginTokenWhenAsked) {
  const auto prompt = encode_chat(R"([{"role": "user", "content": "Hi"}])", {.add_bos = false});
  ASSERT_TRUE(prompt.ok()) << prompt.status().message();
  EXPECT_EQ(*prompt, "<｜User｜>Hi<｜Assistant｜></think>");
}

TEST(EncodeChat, GivesTheSamePromptForMessagesAsStructsAndAsJson) {
  ChatMessage user;
  user.role = "user";
  user.content = "a \"b\"";
  EXPECT_EQ(*encode_chat(std::vector{user}, kThinking),
            *encode_chat(R"([{"role": "user", "content": "a \"b\""}])", kThinking));
}

TEST(EncodeChat, KeepsTheSpellingOfArgumentsAsPythonWould) {
  const auto prompt = encode_chat(R"([
    {"role": "user", "content": "?"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments":
      "{\"s\": \"<b>\", \"x\": 1.0, \"n\": 123456789012345678901, \"l\": [1,{\"k\":null}]}"}}]}])",
                                  kChat);
  ASSERT_TRUE(prompt.ok()) << prompt.status().message();
  EXPECT_THAT(*prompt, HasSubstr("name=\"s\" string=\"true\"><b></｜DSML｜parameter>\n"));
  EXPECT_THAT(*prompt, HasSubstr("name=\"x\" string=\"false\">1.0</"));
  EXPECT_THAT(*prompt, HasSubstr("name=\"n\" string=\"false\">123456789012345678901</"));
  EXPECT_THAT(*prompt, HasSubstr("name=\"l\" string=\"false\">[1, {\"k\": null}]</"));
}

TEST(EncodeChat, TakesNullAndEmptyFieldsForAbsentOnes) {
  const auto prompt = encode_chat(
      R"([{"role": "system", "content": null, "tools": [], "response_format": {}},
          {"role": "user", "content": "x", "tool_calls": null, "name": "ignored"}])",
      kChat);
  ASSERT_TRUE(prompt.ok()) << prompt.status().message();
  EXPECT_EQ(*prompt, "<｜begin▁of▁sentence｜><｜User｜>x<｜Assistant｜></think>");
}

struct BadChat {
  const char* messages;
  const char* message;  // the start of it
};

void PrintTo(const BadChat& bad, std::ostream* out) {
  *out << bad.messages;
}

class BadMessages : public testing::TestWithParam<BadChat> {};

TEST_P(BadMessages, AreRefusedByIndexAndField) {
  const auto prompt = encode_chat(GetParam().messages, kThinking);
  ASSERT_FALSE(prompt.ok());
  EXPECT_EQ(prompt.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(prompt.status().message(), StartsWith(GetParam().message));
}

#define USER R"({"role": "user", "content": "x"})"
#define CALL(arguments)                                                                        \
  R"({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": )" arguments \
  "}}]}"

INSTANTIATE_TEST_SUITE_P(
    Shapes,
    BadMessages,
    testing::Values(
        BadChat{"", "messages: "},
        BadChat{"{}", "messages: an object, want an array"},
        BadChat{"[1]", "messages[0]: a number, want an object"},
        BadChat{"[{}]", "messages[0].role: missing, want a string"},
        BadChat{R"([{"role": 1}])", "messages[0].role: a number, want a string"},
        BadChat{"[" USER R"(, {"role": "bot"}])", "messages[1].role: \"bot\", want system"},
        BadChat{R"([{"role": "user", "content": ["x"]}])",
                "messages[0].content: an array, want a string"},
        BadChat{R"([{"role": "user"}])", "messages[0].content: missing, want a string"},
        BadChat{R"([{"role": "tool", "content": null}])", "messages[0].role: \"tool\", want one"},
        BadChat{R"([{"role": "assistant", "prefix": "yes"}])",
                "messages[0].prefix: a string, want true or false"},
        BadChat{R"([{"role": "developer", "content": ""}])", "messages[0].content: empty"},
        BadChat{R"([{"role": "system", "tools": {}}])",
                "messages[0].tools: an object, want an array"},
        BadChat{R"([{"role": "system", "tools": [{}]}])",
                "messages[0].tools[0].function: missing, want an object"},
        BadChat{R"([{"role": "user", "content": "x", "tools": [{"function": {}}]}])",
                "messages[0].tools: given for role \"user\""},
        BadChat{R"([{"role": "user", "content": "x", "response_format": {"a": 1}}])",
                "messages[0].response_format: given for role \"user\""}));

INSTANTIATE_TEST_SUITE_P(
    Calls,
    BadMessages,
    testing::Values(
        BadChat{R"([{"role": "assistant", "tool_calls": [{}]}])",
                "messages[0].tool_calls[0].function: missing, want an object"},
        BadChat{"[" USER ", " CALL("7") "]",
                "messages[1].tool_calls[0].function.arguments: a number, want a string"},
        BadChat{R"([{"role": "tool", "content": "x"}])", "messages[0].role: \"tool\", want one"},
        BadChat{"[" USER R"(, {"role": "tool", "content": "x"}])", "messages[1].role: \"tool\""},
        BadChat{
            "[" USER ", " CALL(
                "\"{}\"") R"(, {"role": "tool", "content": "x"}, {"role": "tool", "content": "y"}])",
            "messages[3].role: \"tool\", want one for each tool call"},
        BadChat{R"([{"role": "assistant", "tool_calls": [
                   {"function": {"name": "f", "arguments": "{}"}},
                   {"function": {"name": "g", "arguments": "{}"}}]},
                   {"role": "tool", "content": "x"}, {"role": "user", "content": "x"}])",
                "messages[0].tool_calls: followed by 1 tool messages, want 2"}));

#define CALLS                                                                     \
  R"({"role": "assistant", "tool_calls": [)"                                      \
  R"({"id": "c1", "function": {"name": "f", "arguments": "{\"city\": \"A\"}"}},)" \
  R"({"id": "c2", "function": {"name": "f", "arguments": "{\"city\": \"B\"}"}}]})"
#define RESULT(id, text) \
  R"({"role": "tool", "tool_call_id": ")" id R"(", "content": ")" text R"("})"

INSTANTIATE_TEST_SUITE_P(
    Pairs,
    BadMessages,
    testing::Values(
        BadChat{"[" USER ", " CALLS ", " RESULT("c3", "x") "]",
                "messages[2].tool_call_id: \"c3\", want an id of messages[1].tool_calls: \"c1\", "
                "\"c2\""},
        BadChat{"[" USER ", " CALLS ", " RESULT("c1", "x") ", " RESULT("c1", "y") "]",
                "messages[3].tool_call_id: \"c1\", answered in messages[2] already"},
        BadChat{"[" USER ", " CALLS ", " RESULT("c1", "x") ", " USER "]",
                "messages[1].tool_calls: followed by 1 tool messages, want 2; none has the id "
                "\"c2\""}));

INSTANTIATE_TEST_SUITE_P(
    Prefixes,
    BadMessages,
    testing::Values(
        BadChat{R"([{"role": "user", "content": "x", "prefix": true}])",
                "messages[0].prefix: true, want it only for an assistant message at the end"},
        BadChat{R"([{"role": "assistant", "content": "x", "prefix": true}, )" USER "]",
                "messages[0].prefix: true, want it only"},
        BadChat{R"([{"role": "assistant", "prefix": true, "tool_calls": [{"function":
                   {"name": "f", "arguments": "{}"}}]}])",
                "messages[0].tool_calls: given, want only text"}));

struct Prompt {
  const char* messages;  // without the brackets
  const char* chat;      // from the first user token on, with short names for tokens
  const char* thinking;
};

void PrintTo(const Prompt& prompt, std::ostream* out) {
  *out << prompt.messages;
}

class Prompts : public testing::TestWithParam<Prompt> {};

std::string shortened(std::string prompt) {
  const std::pair<std::string, std::string> names[] = {{"<｜begin▁of▁sentence｜>", ""},
                                                       {"<｜end▁of▁sentence｜>", "<E>"},
                                                       {"<｜User｜>", "<U>"},
                                                       {"<｜Assistant｜>", "<A>"},
                                                       {"｜DSML｜", "|"}};
  for (const auto& [token, name] : names) {
    for (size_t at = prompt.find(token); at != std::string::npos; at = prompt.find(token))
      prompt.replace(at, token.size(), name);
  }
  return prompt;
}

TEST_P(Prompts, EndWhereTheAssistantGoesOn) {
  const std::string messages = std::string("[") + GetParam().messages + "]";
  for (const bool thinking : {false, true}) {
    const auto prompt = encode_chat(messages, thinking ? kThinking : kChat);
    ASSERT_TRUE(prompt.ok()) << prompt.status().message();
    EXPECT_EQ(shortened(*prompt), thinking ? GetParam().thinking : GetParam().chat);
    const auto parsed = parse_messages(messages);
    EXPECT_EQ(begins_with_reasoning(*parsed, thinking ? kThinking : kChat),
              thinking && prompt->rfind("<think>") != std::string::npos &&
                  prompt->find("</think>", prompt->rfind("<think>")) == std::string::npos);
  }
}

#define SYSTEM(text) R"({"role": "system", "content": ")" text R"("})"
#define SAID(text) R"({"role": "assistant", "content": ")" text R"("})"

INSTANTIATE_TEST_SUITE_P(
    NotByTheUser,
    Prompts,
    testing::Values(Prompt{SYSTEM("S"), "S<A></think>", "S<A><think>"},
                    Prompt{USER ", " SAID("y"), "<U>x<A></think>y<E><A></think>",
                           "<U>x<A><think></think>y<E><A><think>"},
                    Prompt{SYSTEM("S") ", " USER ", " SYSTEM("be brief"),
                           "S<U>x\n\nbe brief<A></think>", "S<U>x\n\nbe brief<A><think>"},
                    Prompt{USER ", " SYSTEM("a") ", " SYSTEM("b") ", " SAID("y") ", " USER,
                           "<U>x\n\na\n\nb<A></think>y<E><U>x<A></think>",
                           "<U>x\n\na\n\nb<A></think>y<E><U>x<A><think>"},
                    Prompt{USER ", " SAID("y") ", " SYSTEM("S"), "<U>x<A></think>y<E>S<A></think>",
                           "<U>x<A><think></think>y<E>S<A><think>"}));

INSTANTIATE_TEST_SUITE_P(
    Continued,
    Prompts,
    testing::Values(
        Prompt{USER R"(, {"role": "assistant", "content": "God made", "prefix": true})",
               "<U>x<A></think>God made", "<U>x<A><think></think>God made"},
        Prompt{USER R"(, {"role": "assistant", "prefix": true, "reasoning_content": "So"})",
               "<U>x<A></think>", "<U>x<A><think>So"},
        Prompt{USER R"(, {"role": "assistant", "content": "y", "prefix": true, "reasoning": "So"})",
               "<U>x<A></think>y", "<U>x<A><think>So</think>y"},
        Prompt{R"({"role": "assistant", "content": "y", "prefix": true})", "<A></think>y",
               "<A><think></think>y"}));

#define PARAMETER_OF(name, value) \
  "<|parameter name=\"" name "\" string=\"true\">" value "</|parameter>\n</|invoke>\n"
#define BOTH_CALLS                                              \
  "\n\n<|function_calls>\n<|invoke name=\"f\">\n" PARAMETER_OF( \
      "city", "A") "<|invoke name=\"f\">\n" PARAMETER_OF("city", "B") "</|function_calls><E>"
#define BOTH_RESULTS \
  "\n\n<function_results>\n<result>of A</result>\n<result>of B</result>\n</function_results>\n\n"

INSTANTIATE_TEST_SUITE_P(
    Results,
    Prompts,
    testing::Values(
        Prompt{USER ", " CALLS ", " RESULT("c2", "of B") ", " RESULT("c1", "of A"),
               "<U>x<A></think>" BOTH_CALLS BOTH_RESULTS "</think>",
               "<U>x<A><think></think>" BOTH_CALLS BOTH_RESULTS "<think>"},
        Prompt{USER ", " CALLS R"(, {"role": "tool", "content": "of A"}, )" RESULT("c2", "of B"),
               "<U>x<A></think>" BOTH_CALLS BOTH_RESULTS "</think>",
               "<U>x<A><think></think>" BOTH_CALLS BOTH_RESULTS "<think>"},
        Prompt{USER ", " CALLS
                    ", " SYSTEM("hook") ", " RESULT("c1", "of A") ", " RESULT("c2", "of B"),
               "<U>x<A></think>" BOTH_CALLS BOTH_RESULTS "hook\n\n</think>",
               "<U>x<A><think></think>" BOTH_CALLS BOTH_RESULTS "hook\n\n<think>"},
        Prompt{USER ", " CALL("\"{}\"") R"(, {"role": "tool", "content": null})",
               "<U>x<A></think>\n\n<|function_calls>\n<|invoke name=\"f\">\n\n</|invoke>\n"
               "</|function_calls><E>\n\n<function_results>\n<result></result>\n"
               "</function_results>\n\n</think>",
               "<U>x<A><think></think>\n\n<|function_calls>\n<|invoke name=\"f\">\n\n</|invoke>\n"
               "</|function_calls><E>\n\n<function_results>\n<result></result>\n"
               "</function_results>\n\n<think>"}));

std::string invoke_of(const std::string& arguments) {
  const auto prompt = encode_chat(R"([{"role": "user", "content": "x"}, {"role": "assistant",
      "tool_calls": [{"function": {"name": "f", "arguments": )" +
                                      arguments + "}}]}]",
                                  kChat);
  EXPECT_TRUE(prompt.ok()) << prompt.status().message();
  const std::string text = shortened(*prompt);
  const size_t begin = text.find("\"f\">\n") + 5;
  return text.substr(begin, text.find("\n</|invoke>") - begin);
}

TEST(EncodeChat, WritesArgumentsThatAreNoObjectAsTheyWereWritten) {
  for (const char* none : {R"("")", R"(" \n")", R"("{}")", "null", "{}"})
    EXPECT_EQ(invoke_of(none), "") << none;
  EXPECT_EQ(invoke_of(R"("{\"city\": \"Par")"),
            "<|parameter name=\"arguments\" string=\"true\">{\"city\": \"Par</|parameter>");
  EXPECT_EQ(invoke_of(R"("[1]")"),
            "<|parameter name=\"arguments\" string=\"true\">[1]</|parameter>");
  EXPECT_EQ(invoke_of(R"({"n": 1})"), "<|parameter name=\"n\" string=\"false\">1</|parameter>");
}

TEST(EncodeChat, LeavesTheTurnClosedWhenAsked) {
  const auto prompt = encode_chat("[" USER ", " SAID("y") "]", {.open_turn = false});
  EXPECT_EQ(shortened(*prompt), "<U>x<A></think>y<E>");
}

TEST(EncodeChat, RefusesDeepNestingOfAnyKind) {
  const std::string deep(100'000, '[');
  EXPECT_FALSE(encode_chat(deep, kChat).ok());
  EXPECT_FALSE(encode_chat(R"([{"role": "system", "tools": )" + deep, kChat).ok());
  EXPECT_FALSE(parse_completion("\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n"
                                "<｜DSML｜parameter name=\"a\" string=\"false\">" +
                                    deep + "</｜DSML｜parameter>",
                                false)
                   .ok());
}

TEST(ParseCompletion, TakesTextWithAndWithoutTheEndToken) {
  for (const char* end : {"<｜end▁of▁sentence｜>", ""}) {
    const auto parsed = parse_completion(std::string("why</think>yes\n") + end, true);
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    EXPECT_EQ(parsed->reasoning, "why");
    EXPECT_EQ(parsed->content, "yes\n");
    EXPECT_TRUE(parsed->tool_calls.empty());
  }
  EXPECT_EQ(parse_completion("", false)->content, "");
}

TEST(ParseCompletion, ReadsCallsWithArgumentsOfBothKinds) {
  const auto parsed = parse_completion(
      "ok\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n"
      "<｜DSML｜parameter name=\"s\" string=\"true\">a \"b\"\n1</｜DSML｜parameter>\n"
      "<｜DSML｜parameter name=\"n\" string=\"false\">[1,2.50]</｜DSML｜parameter>\n"
      "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"g\">\n\n</｜DSML｜invoke>\n"
      "</｜DSML｜function_calls><｜end▁of▁sentence｜>",
      false);
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(parsed->content, "ok");
  ASSERT_EQ(parsed->tool_calls.size(), 2U);
  EXPECT_EQ(parsed->tool_calls[0].name, "f");
  EXPECT_EQ(parsed->tool_calls[0].arguments, R"({"s": "a \"b\"\n1", "n": [1,2.50]})");
  EXPECT_EQ(parsed->tool_calls[1].name, "g");
  EXPECT_EQ(parsed->tool_calls[1].arguments, "{}");
}

struct BadCompletion {
  const char* text;
  bool thinking;
  const char* message;
};

void PrintTo(const BadCompletion& bad, std::ostream* out) {
  *out << bad.text;
}

class BadCompletions : public testing::TestWithParam<BadCompletion> {};

TEST_P(BadCompletions, AreRefusedByOffset) {
  const auto parsed = parse_completion(GetParam().text, GetParam().thinking);
  ASSERT_FALSE(parsed.ok());
  EXPECT_THAT(parsed.status().message(), StartsWith(GetParam().message));
}

#define OPEN "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n"  // 33 + 28 bytes
#define PARAMETER(kind, value) \
  "<｜DSML｜parameter name=\"a\" string=\"" kind "\">" value "</｜DSML｜parameter>\n"

INSTANTIATE_TEST_SUITE_P(
    Offsets,
    BadCompletions,
    testing::Values(
        BadCompletion{"no end of thinking", true,
                      "completion: byte 18: the end, want \"</think>\""},
        BadCompletion{"a<think>b</think>c", true, "completion: byte 1: something else"},
        BadCompletion{"a</think>", false, "completion: byte 1: something else, want text without"},
        BadCompletion{"a<｜end▁of▁sentence｜>b", false, "completion: byte 28: something else"},
        BadCompletion{"\n\n<｜DSML｜function_calls>x", false, "completion: byte 28: something"},
        BadCompletion{"\n\n<｜DSML｜function_calls>\n", false,
                      "completion: byte 29: the end, want \"</｜DSML｜function_calls>\""},
        BadCompletion{"x<｜DSML｜invoke", false, "completion: byte 2: something else, want text"},
        BadCompletion{OPEN, false, "completion: byte 57: the end, want \"</｜DSML｜invoke>\""},
        BadCompletion{OPEN PARAMETER("maybe", "1"), false, "completion: byte 95: something else"},
        BadCompletion{OPEN PARAMETER("true", "x</｜DSML｜invoke>"), false,
                      "completion: byte 102: something else, want \"</｜DSML｜parameter>\""},
        BadCompletion{OPEN PARAMETER("false", "x"), false,
                      "completion: byte 102: something else, want JSON (parse error at line 1"},
        BadCompletion{OPEN PARAMETER("true", "1") PARAMETER("true", "2"), false,
                      "completion: byte 152: something else, want each parameter once"}));

}  // namespace
}  // namespace dsa
