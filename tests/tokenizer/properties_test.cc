// Properties that hold for every text, on random ones.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <stdlib.h>

#include <string>
#include <utility>
#include <vector>

#include "dsa/chat.h"
#include "dsa/tokenizer.h"

#include "tests/tokenizer/fixtures.h"
#include "tokenizer/utf8.h"

namespace dsa {
namespace {

// The same texts in every run, unless RC_PARAMS asks for others, e.g. seed=7 max_success=10000.
[[maybe_unused]] const int kSeeded = setenv("RC_PARAMS", "seed=1", 0);

// A code point that is no surrogate; often ASCII, so that merges and splits have work.
rc::Gen<std::string> character() {
  const auto code_points = rc::gen::weightedOneOf<int>({{6, rc::gen::inRange(0, 0x80)},
                                                        {2, rc::gen::inRange(0x80, 0x800)},
                                                        {2, rc::gen::inRange(0x3000, 0xA000)},
                                                        {1, rc::gen::inRange(0xE000, 0x10000)},
                                                        {1, rc::gen::inRange(0x10000, 0x110000)}});
  return rc::gen::map(code_points, [](int code) {
    const auto tail = [code](int shift) {
      return static_cast<char>(0x80 | (code >> shift & 0x3F));
    };
    if (code < 0x80) return std::string{static_cast<char>(code)};
    if (code < 0x800) return std::string{static_cast<char>(0xC0 | code >> 6), tail(0)};
    if (code < 0x10000) return std::string{static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
    return std::string{static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
  });
}

// Characters, spellings of control tokens and whole words.
rc::Gen<std::string> utf8_text() {
  const auto word = rc::gen::element<std::string>(" the", "Lord", "\r\n", "   ", "12345", "don't",
                                                  "<｜User｜>", "</s>", "<s>", "世界", "\u00e9");
  const auto part = rc::gen::weightedOneOf<std::string>({{4, character()}, {1, word}});
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(part),
                      [](const std::vector<std::string>& parts) {
                        std::string text;
                        for (const std::string& piece : parts)
                          text += piece;
                        return text;
                      });
}

void check_round_trip(const Tokenizer& tokenizer, const std::string& text) {
  for (const bool special_tokens : {false, true}) {
    const auto ids = tokenizer.encode(text, special_tokens);
    RC_ASSERT(ids.ok());
    RC_ASSERT(*tokenizer.decode(*ids) == text);
  }
}

// Bytes of any kind with every ill-formed part replaced.
std::string mended(const std::string& bytes) {
  std::string text;
  const std::size_t used = append_well_formed(bytes, text);
  return used == bytes.size() ? text : text + std::string(kReplacement);
}

void check_stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    const auto part = decoder.push(id);
    RC_ASSERT(part.ok());
    text += *part;
    RC_ASSERT(mended(text) == text);
  }
  text += decoder.flush();
  RC_ASSERT(text == mended(*tokenizer.decode(ids)));
  RC_ASSERT(decoder.flush().empty());
}

RC_GTEST_PROP(BabyTokenizer, DecodesWhatItEncoded, ()) {
  check_round_trip(test::baby_tokenizer(), *utf8_text());
}

RC_GTEST_PROP(BabyTokenizer, DecodesWhatItEncodedOfAnyBytes, (const std::string& bytes)) {
  check_round_trip(test::baby_tokenizer(), bytes);
}

RC_GTEST_PROP(BabyTokenizer, StreamsWhatItDecodesAtOnce, ()) {
  const auto id = rc::gen::inRange(0, test::baby_tokenizer().vocab_size());
  check_stream(test::baby_tokenizer(), *rc::gen::container<std::vector<int32_t>>(id));
}

RC_GTEST_PROP(BabyTokenizer, StreamsTextThatEqualsItsDecoding, ()) {
  const std::string text = *utf8_text();
  const auto ids = test::baby_tokenizer().encode(text);
  RC_ASSERT(ids.ok());
  check_stream(test::baby_tokenizer(), *ids);
}

TEST(DeepSeekTokenizer, DecodesAndStreamsWhatItEncoded) {
  DSA_SKIP_WITHOUT(test::kDeepSeekTokenizer);
  const Tokenizer& tokenizer = test::deepseek_tokenizer();
  EXPECT_TRUE(rc::check("decode(encode(text)) == text", [&] {
    const std::string text = *utf8_text();
    check_round_trip(tokenizer, text);
    check_stream(tokenizer, *tokenizer.encode(text));
  }));
}

// What the assistant may say: text without control tokens, and calls with JSON arguments.
rc::Gen<ToolCall> tool_call() {
  const auto arguments = rc::gen::element<std::string>(
      "{}", R"({"city": "北京"})", R"({"n": 1.5, "list": [1, 2, {"k": null}]})",
      R"({"quote\"d": "a\nb\\", "t": true})", R"({"big": 123456789012345678901234567890})");
  const auto name = rc::gen::element<std::string>("get_weather", "f", "search web");
  return rc::gen::build<ToolCall>(rc::gen::set(&ToolCall::name, name),
                                  rc::gen::set(&ToolCall::arguments, arguments));
}

RC_GTEST_PROP(ChatEncoding, ParsesBackWhatItEncoded, ()) {
  const auto plain = rc::gen::suchThat(utf8_text(), [](const std::string& text) {
    return text.find("\n\n<｜DSML｜") == std::string::npos;
  });
  const bool thinking = *rc::gen::arbitrary<bool>();
  ChatMessage said;
  said.role = "assistant";
  said.content = *plain;
  said.reasoning = thinking ? "because " + *plain : "";
  said.tool_calls = *rc::gen::container<std::vector<ToolCall>>(tool_call());
  ChatMessage asked;
  asked.role = "user";
  asked.content = "?";

  const ChatOptions options{.thinking = thinking, .open_turn = false};
  const std::vector<ChatMessage> both = {asked, said};
  const auto before = encode_chat(std::span(both).first(1), options);
  const auto whole = encode_chat(both, options);
  RC_ASSERT(before.ok() && whole.ok());
  RC_ASSERT(whole->starts_with(*before));
  const std::string completion = whole->substr(before->size());
  const auto parsed = parse_completion(completion, thinking);
  RC_ASSERT(parsed.ok());
  RC_ASSERT(parsed->content == said.content);
  RC_ASSERT(parsed->reasoning == said.reasoning);
  RC_ASSERT(parsed->tool_calls.size() == said.tool_calls.size());
  for (std::size_t i = 0; i < said.tool_calls.size(); ++i) {
    RC_ASSERT(parsed->tool_calls[i].name == said.tool_calls[i].name);
    RC_ASSERT(parsed->tool_calls[i].arguments == said.tool_calls[i].arguments);
  }
}

}  // namespace
}  // namespace dsa
