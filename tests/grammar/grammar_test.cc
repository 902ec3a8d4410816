#include "dsa/grammar.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include "dsa/chat.h"

#include "tests/grammar/grammars.h"

namespace dsa {
namespace {

using Json = nlohmann::json;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// A token drawn at temperature 2.
int32_t draw(std::span<const float> logits, std::mt19937_64& random) {
  std::extreme_value_distribution<float> gumbel(0.0F, 1.0F);
  size_t best = 0;
  float most = kForbidden;
  for (size_t i = 0; i < logits.size(); ++i) {
    const float value = logits[i] / 2.0F + gumbel(random);
    if (value > most) best = i;
    most = std::max(most, value);
  }
  return static_cast<int32_t>(best);
}

// Whether a token closes something: a string or a bracket, or the text of a tool's parameter.
bool closes(std::string_view token, const std::string& before, const std::string& end) {
  if (end.empty()) return token == "\"" || token == "}" || token == "]";
  size_t n = end.size() - 1;
  while (before.size() < n || before.substr(before.size() - n) != end.substr(0, n))
    --n;
  return token == end.substr(n, 1);
}

// Text from random logits; what closes gets a push after twenty tokens, so that it does end.
std::string sampled(const Grammar& grammar, uint64_t seed, const std::string& end = "") {
  GrammarMatcher matcher(grammar, tokens());
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0F, 4.0F);
  std::string text;
  std::vector<float> logits(2048);
  for (size_t n = 0; n < 600 && !matcher.must_end(); ++n) {
    for (size_t i = 0; i < logits.size(); ++i) {
      const std::string_view token = tokenizer().token_text(static_cast<int32_t>(i));
      logits[i] = normal(random) + (n > 20 && closes(token, text, end) ? 50.0F : 0.0F);
    }
    const Status masked = matcher.mask(logits);
    EXPECT_TRUE(masked.ok()) << masked.message();
    if (!masked.ok()) break;
    const int32_t id = draw(logits, random);
    EXPECT_TRUE(matcher.accept(id).ok());
    if (id == kEnd) break;
    text += tokenizer().token_text(id);
  }
  EXPECT_TRUE(matcher.may_end()) << text;
  return text;
}

TEST(Grammar, AcceptsExactlyJsonObjects) {
  const Grammar grammar = Grammar::json_object();
  for (const char* text :
       {"{}", "{ }", R"({"a":1})", R"({"a": [1, -2.5e3, true, null, {"b": "c"}]})",
        "{\n  \"a\": \"\\u00e9\\n\xC3\xA9\xF0\x9F\x98\x80\"\n}", R"({"":""})"}) {
    EXPECT_TRUE(accepts(grammar, text)) << text;
  }
  for (const char* text :
       {"", "1", "[]", "{", R"({"a"})", R"({"a":})", R"({"a":01})", R"({"a":1,})", R"({a:1})",
        R"({"a":"\x"})", R"({"a":"\ud800"})", "{\"a\":\"\xC3\"}", "{\"a\":\"\n\"}", R"({"a":1}x)",
        R"({"a":1e999})", "{\"a\":\"\xED\xA0\x80\"}"}) {
    EXPECT_FALSE(accepts(grammar, text)) << text;
  }
}

TEST(Grammar, ASchemaAcceptsWhatItDescribes) {
  const Grammar grammar = schema(R"({"type":"object","properties":{
      "name":{"type":"string"},"age":{"type":"integer"},"tags":{"type":"array","items":
      {"enum":["a","b"]},"minItems":1,"maxItems":2},"kind":{"const":7},
      "more":{"anyOf":[{"type":"null"},{"type":["boolean","number"]}]}},
      "required":["name","tags"],"additionalProperties":false})");
  EXPECT_TRUE(accepts(grammar, R"({"name":"x","tags":["a"]})"));
  EXPECT_TRUE(accepts(grammar, R"({"name":"x","age":3,"tags":["a","b"],"kind":7,"more":1.5})"));
  EXPECT_TRUE(accepts(grammar, R"({"name":"x","tags":["b"],"more":null})"));
  for (const char* text :
       {R"({"tags":["a"]})", R"({"name":"x"})", R"({"name":"x","tags":[]})",
        R"({"name":"x","tags":["a","b","a"]})", R"({"name":"x","tags":["c"]})",
        R"({"name":1,"tags":["a"]})", R"({"name":"x","age":1.5,"tags":["a"]})",
        R"({"name":"x","tags":["a"],"z":1})", R"({"name":"x","tags":["a"],"more":"s"})",
        R"({"name":"x","tags":["a"],"kind":8})"}) {
    EXPECT_FALSE(accepts(grammar, text)) << text;
  }
}

TEST(Grammar, OtherMembersMayNotTakeTheNameOfAProperty) {
  const Grammar grammar = schema(R"({"type":"object","properties":{"ab":{"type":"integer"}},
      "additionalProperties":{"type":"string"}})");
  EXPECT_TRUE(accepts(grammar, R"({"ab":1,"abc":"x","a":"y"})"));
  EXPECT_TRUE(accepts(grammar, R"({"z":"x"})"));
  EXPECT_FALSE(accepts(grammar, R"({"ab":"x"})"));
  EXPECT_FALSE(accepts(grammar, R"({"z":"x","ab":"y"})"));
  EXPECT_FALSE(accepts(grammar, R"({"\u0061b":"y"})"));
}

TEST(Grammar, ReferencesAreFollowedAndMayBeUsedTwice) {
  const Grammar grammar = schema(R"({"$defs":{"P":{"type":"object","properties":{"x":{"type":
      "integer"}},"required":["x"]}},"type":"array","items":{"$ref":"#/$defs/P"}})");
  EXPECT_TRUE(accepts(grammar, R"([{"x":1},{"x":2}])"));
  EXPECT_FALSE(accepts(grammar, R"([{"x":"1"}])"));
}

TEST(Grammar, WhatASchemaMayNotSayIsNamed) {
  const auto message = [](const char* text) {
    const auto grammar = Grammar::json_schema(text);
    EXPECT_FALSE(grammar.ok()) << text;
    return grammar.ok() ? std::string() : grammar.status().message();
  };
  EXPECT_NE(message(R"({"type":"object","properties":{"a":{"type":"string","pattern":"\\bx"
}
}
})")
                .find("$.properties.a.pattern"),
            std::string::npos);
  EXPECT_NE(message(R"({"not":{"type":"null"}})").find("$.not"), std::string::npos);
  EXPECT_NE(message(R"({"type":"strin"})").find("$.type: \"strin\""), std::string::npos);
  EXPECT_NE(message(R"({"oneOf":[]})").find("$.oneOf"), std::string::npos);
  EXPECT_NE(message(R"({"type":"array","minItems":-1})").find("$.minItems"), std::string::npos);
  EXPECT_NE(message(R"({"type":"array","minItems":3,"maxItems":2})").find("$.minItems"),
            std::string::npos);
  EXPECT_NE(message(R"({"$ref":"#/$defs/A"})").find("$.$ref"), std::string::npos);
  EXPECT_NE(message(R"({"$defs":{"A":{"type":"array","items":{"$ref":"#/$defs/A"},"minItems":1}},
      "$ref":"#/$defs/A"})")
                .find("without end"),
            std::string::npos);
  EXPECT_NE(message(R"({"enum":[]})").find("$.enum"), std::string::npos);
  EXPECT_NE(message(R"({"anyOf":[{"type":"string"}],"type":"object"})").find("no value can fit"),
            std::string::npos);
  EXPECT_NE(message(R"({"type":"object","properties":{},"required":["a"]})").find("$.required"),
            std::string::npos);
  EXPECT_NE(message("{").size(), 0U);
  EXPECT_NE(message("3").find("an object or true"), std::string::npos);
}

TEST(Grammar, AnythingSampledHotFromRandomLogitsIsAnObject) {
  const Grammar grammar = Grammar::json_object();
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const std::string text = sampled(grammar, seed);
    const Json value = Json::parse(text, nullptr, false);
    EXPECT_TRUE(value.is_object()) << text;
  }
}

TEST(Grammar, AnythingSampledHotFollowsTheSchema) {
  const Grammar grammar = schema(R"({"type":"object","properties":{
      "title":{"type":"string"},"n":{"type":"integer"},"x":{"type":"number"},
      "list":{"type":"array","items":{"type":"object","properties":{"k":{"enum":["red","green"]},
      "ok":{"type":"boolean"}},"required":["k"]},"minItems":2,"maxItems":3}},
      "required":["title","x","list"],"additionalProperties":false})");
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const std::string text = sampled(grammar, seed);
    const Json value = Json::parse(text, nullptr, false);
    ASSERT_TRUE(value.is_object()) << text;
    EXPECT_TRUE(value.at("title").is_string()) << text;
    EXPECT_TRUE(value.at("x").is_number()) << text;
    EXPECT_TRUE(!value.contains("n") || value["n"].is_number_integer()) << text;
    const Json& list = value.at("list");
    EXPECT_TRUE(list.size() == 2 || list.size() == 3) << text;
    for (const Json& entry : list) {
      EXPECT_TRUE(entry.at("k") == "red" || entry.at("k") == "green") << text;
      EXPECT_TRUE(!entry.contains("ok") || entry["ok"].is_boolean()) << text;
      EXPECT_EQ(entry.size(), entry.contains("ok") ? 2U : 1U) << text;
    }
  }
}

TEST(Grammar, TheMaskIsWhatAcceptWouldTake) {
  const Grammar grammar = schema(R"({"type":"object","properties":{"a":{"type":"string"},
      "b":{"type":"number"}},"required":["a","b"]})");
  GrammarMatcher matcher(grammar, tokens());
  const auto ids = tokenizer().encode(R"({"a": "In the beginning \u0041", "b": -12.5})");
  ASSERT_TRUE(ids.ok());
  for (size_t n = 0; n < 12; ++n) {
    std::vector<float> logits(2048, 0.0F);
    ASSERT_TRUE(matcher.mask(logits).ok());
    for (int32_t id = 2; id < 2048; id += 61) {
      GrammarMatcher copy(grammar, tokens());
      for (size_t i = 0; i < n; ++i)
        ASSERT_TRUE(copy.accept((*ids)[i]).ok());
      ASSERT_EQ(copy.accept(id).ok(), logits[static_cast<size_t>(id)] > kForbidden)
          << n << " " << id;
    }
    ASSERT_TRUE(matcher.accept((*ids)[n]).ok());
  }
}

TEST(Grammar, ATokenThatDoesNotFitChangesNothing) {
  GrammarMatcher matcher(Grammar::json_object(), tokens());
  EXPECT_FALSE(matcher.accept((*tokenizer().encode("x"))[0]).ok());
  EXPECT_FALSE(matcher.accept(-1).ok());
  EXPECT_FALSE(matcher.accept(1 << 30).ok());
  EXPECT_FALSE(matcher.accept(kEnd).ok());
  EXPECT_TRUE(matcher.accept((*tokenizer().encode("{"))[0]).ok());
}

TEST(Grammar, AfterTheEndOnlyAnEndTokenIsLeft) {
  GrammarMatcher matcher(schema(R"({"const":null})"), tokens());
  for (const char c : std::string("null"))
    ASSERT_TRUE(matcher.accept((*tokenizer().encode(std::string(1, c)))[0]).ok());
  EXPECT_TRUE(matcher.must_end());
  std::vector<float> logits(4096, 1.0F);  // a vocabulary with padding rows
  ASSERT_TRUE(matcher.mask(logits).ok());
  for (size_t i = 0; i < logits.size(); ++i)
    EXPECT_EQ(logits[i] > kForbidden, i == kEnd) << i;
  EXPECT_TRUE(matcher.accept(kEnd).ok());
}

TEST(Grammar, ReasoningMayComeFirst) {
  const Grammar grammar = schema(R"({"type":"integer"})").after_reasoning();
  EXPECT_TRUE(accepts(grammar, "so <thin</think>12"));
  EXPECT_FALSE(accepts(grammar, "12"));
  EXPECT_FALSE(accepts(grammar, "</think>x"));
}

constexpr const char* kTools = R"([{"type":"function","function":{"name":"weather","parameters":{
    "type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"},
    "unit":{"type":"string","enum":["C","F"]}},"required":["city","days"]}}},
    {"type":"function","function":{"name":"now"}}])";

TEST(Grammar, SampledToolCallsParseAndHaveTheirArguments) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const auto grammar = Grammar::tool_calls(kTools, seed % 2 == 0 ? "weather" : "", 2);
    ASSERT_TRUE(grammar.ok()) << grammar.status().message();
    const std::string text = sampled(*grammar, seed,
                                     "</\xEF\xBD\x9C"
                                     "DSML\xEF\xBD\x9Cparameter>");
    const auto parsed = parse_completion(text, false);
    ASSERT_TRUE(parsed.ok()) << text << parsed.status().message();
    EXPECT_EQ(parsed->content, "");
    ASSERT_GE(parsed->tool_calls.size(), 1U);
    EXPECT_LE(parsed->tool_calls.size(), 2U);
    for (const ToolCall& call : parsed->tool_calls) {
      const Json arguments = Json::parse(call.arguments, nullptr, false);
      ASSERT_TRUE(arguments.is_object()) << call.arguments;
      if (call.name == "now") continue;
      EXPECT_EQ(call.name, "weather");
      EXPECT_TRUE(arguments.at("city").is_string());
      EXPECT_TRUE(arguments.at("days").is_number_integer());
    }
  }
}

// Text arguments stand without quotes and escapes; their bounds hold all the same.
TEST(Grammar, SampledToolCallsKeepTheBoundsOfTextArguments) {
  const auto grammar = Grammar::tool_calls(R"([{"type":"function","function":{"name":"book",
      "parameters":{"type":"object","properties":{"day":{"type":"string","format":"date"},
      "seat":{"type":"string","pattern":"^[A-F]\\d{2}$"},"note":{"type":"string","minLength":1,
      "maxLength":4}},"required":["day","seat","note"]}}}])",
                                           "book", 1);
  ASSERT_TRUE(grammar.ok()) << grammar.status().message();
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const auto parsed = parse_completion(sampled(*grammar, seed), false);
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    ASSERT_EQ(parsed->tool_calls.size(), 1U);
    const Json arguments = Json::parse(parsed->tool_calls[0].arguments);
    EXPECT_TRUE(std::regex_match(arguments.at("day").get<std::string>(),
                                 std::regex("[0-9]{4}-[0-9]{2}-[0-9]{2}")));
    EXPECT_TRUE(
        std::regex_match(arguments.at("seat").get<std::string>(), std::regex("[A-F][0-9]{2}")));
    EXPECT_GE(arguments.at("note").get<std::string>().size(), 1U);
    EXPECT_LE(arguments.at("note").get<std::string>().size(), 16U);
  }
}

TEST(Grammar, ToolsThatAreNotThereAreRefused) {
  EXPECT_EQ(Grammar::tool_calls(kTools, "rain", 0).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(Grammar::tool_calls("{}", "", 0).ok());
  EXPECT_FALSE(Grammar::tool_calls("[{}]", "", 0).ok());
}

TEST(Grammar, AnAmbiguousSchemaEndsInAnErrorNotInMemory) {
  std::string text = R"({"type":"integer"})";
  for (int level = 0; level < 12; ++level)
    text = R"({"anyOf":[{"type":"array","items":)" + text + R"(},{"type":"array","items":)" + text +
           "}]}";
  const auto grammar = Grammar::json_schema(text);
  if (!grammar.ok()) return;  // too many rules: also an answer
  GrammarMatcher matcher(*grammar, tokens());
  for (int level = 0; level < 12; ++level) {
    if (!matcher.accept((*tokenizer().encode("["))[0]).ok()) return;
  }
  std::vector<float> logits(2048, 0.0F);
  (void)matcher.mask(logits);
}

}  // namespace
}  // namespace dsa
