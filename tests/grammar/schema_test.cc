// Keywords of JSON schema: which texts their grammars take.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <string>
#include <vector>

#include "dsa/grammar.h"

#include "tests/grammar/grammars.h"

namespace dsa {
namespace {

using Json = nlohmann::json;

void expect(const std::string& text,
            const std::vector<std::string>& right,
            const std::vector<std::string>& wrong) {
  const Grammar grammar = schema(text);
  for (const std::string& value : right)
    EXPECT_TRUE(accepts(grammar, value)) << text << "\n" << value;
  for (const std::string& value : wrong)
    EXPECT_FALSE(accepts(grammar, value)) << text << "\n" << value;
}

std::string as_json(const std::string& text) {
  return Json(text).dump();
}

TEST(SchemaNumbers, IntegersWithinBoundsAreExactlyThoseOfTheRange) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> bound(-150, 150), divisor(1, 12), coin(0, 2);
  for (int round = 0; round < 25; ++round) {
    const int a = bound(random), b = bound(random), m = divisor(random);
    const int low = std::min(a, b), high = std::max(a, b) + 12;
    const bool has_low = coin(random) > 0, has_high = coin(random) > 0, times = coin(random) > 0;
    Json text = {{"type", "integer"}};
    if (has_low) text["minimum"] = low;
    if (has_high) text["exclusiveMaximum"] = high;
    if (times) text["multipleOf"] = m;
    const Grammar grammar = schema(text.dump());
    for (int x = -200; x <= 200; ++x) {
      const bool right =
          (!has_low || x >= low) && (!has_high || x < high) && (!times || x % m == 0);
      EXPECT_EQ(accepts(grammar, std::to_string(x)), right) << text << " " << x;
    }
  }
}

TEST(SchemaNumbers, NumbersWithinBoundsAreExactlyThoseOfTheRange) {
  std::mt19937 random(11);
  std::uniform_int_distribution<int> bound(-300, 300), coin(0, 1);
  for (int round = 0; round < 25; ++round) {
    const int a = bound(random), b = bound(random);
    const int low = std::min(a, b), high = std::max(a, b) + 1;  // hundredths
    const bool open = coin(random) == 1;
    const Json text = {{"type", "number"},
                       {open ? "exclusiveMinimum" : "minimum", low / 100.0},
                       {open ? "exclusiveMaximum" : "maximum", high / 100.0}};
    const Grammar grammar = schema(text.dump());
    for (int x = -350; x <= 350; ++x) {
      const bool right = open ? x > low && x < high : x >= low && x <= high;
      std::string number = (x < 0 ? "-" : "") + std::to_string(std::abs(x) / 100);
      const std::string hundredths = std::to_string(100 + std::abs(x) % 100).substr(1);
      if (x == 0) continue;  // also written -0
      EXPECT_EQ(accepts(grammar, number + "." + hundredths), right) << text << " " << x;
      EXPECT_EQ(accepts(grammar, number + "." + hundredths + "0"), right) << text << " " << x;
      if (x % 100 == 0) {
        EXPECT_EQ(accepts(grammar, number), right) << text << " " << x;
      }
    }
  }
}

TEST(SchemaNumbers, BoundsComeInEverySpelling) {
  expect(R"({"type":"integer","minimum":0.5,"maximum":1e1})", {"1", "10"},
         {"0", "11", "1.0", "-1"});
  expect(R"({"type":"number","minimum":0,"exclusiveMinimum":true})", {"0.001", "7"}, {"0", "-1"});
  expect(R"({"type":"integer","minimum":3,"exclusiveMinimum":3})", {"4"}, {"3"});
  expect(R"({"type":"integer","minimum":5,"exclusiveMinimum":3})", {"5"}, {"4"});
  expect(R"({"type":"integer","maximum":9223372036854775807})", {"999999999999999", "-5"}, {"1.5"});
  expect(R"({"type":"number","multipleOf":0.05})", {"0.05", "1", "2.5", "-1.15"}, {"0.01", "2.51"});
  expect(R"({"minimum":1,"maximum":5})", {"1", "4.99"}, {"0", "\"a\""});
  expect(R"({"type":["integer","null"],"minimum":1})", {"1", "null"}, {"0"});
}

TEST(SchemaStrings, LengthsCountCharacters) {
  expect(R"({"type":"string","minLength":2,"maxLength":3})",
         {R"("ab")", "\"\xC3\xA9\xF0\x9F\x98\x80\"", R"("\n\u00e9\"")", R"("abc")"},
         {R"("a")", R"("abcd")", R"("")", R"("\u00e9")", "\"\xF0\x9F\x98\x80\""});
  expect(R"({"type":"string","minLength":1})", {R"("a")", R"("abcdefgh")"}, {R"("")"});
  expect(R"({"type":"string","maxLength":0})", {R"("")"}, {R"("a")"});
}

TEST(SchemaStrings, PatternsFindWhatARegularExpressionFinds) {
  std::mt19937 random(3);
  const std::vector<std::string> pieces = {
      "a",      "b",     "[ab]", "[^a]", ".", "(a|bc)", "a*",  "b+",     "c?",       "a{2}",
      "b{1,2}", "(ab)*", "^",    "$",    "|", "\\w",    "\\d", "(?:c|)", "[a-c]{2,}"};
  std::uniform_int_distribution<size_t> piece(0, pieces.size() - 1), count(1, 5), length(0, 6);
  std::uniform_int_distribution<int> letter(0, 3);
  for (int round = 0; round < 150; ++round) {
    std::string pattern;
    for (size_t n = count(random); n > 0; --n)
      pattern += pieces[piece(random)];
    const std::regex oracle(pattern, std::regex::ECMAScript);
    const auto grammar =
        Grammar::json_schema(Json{{"type", "string"}, {"pattern", pattern}}.dump());
    for (int i = 0; i < 60; ++i) {
      std::string text;
      for (size_t n = length(random); n > 0; --n)
        text += "abc1"[letter(random)];
      const bool right = std::regex_search(text, oracle);
      EXPECT_EQ(grammar.ok() && accepts(*grammar, as_json(text)), right) << pattern << " " << text;
    }
  }
}

TEST(SchemaStrings, PatternsAreWrittenAsJson) {
  expect(R"({"type":"string","pattern":"^[A-Z]{3}-\\d+$"})", {R"("ABC-7")"},
         {R"("abc-7")", R"("ABC-")"});
  expect(R"({"pattern":"^\".\\\\$"})", {R"("\"x\\")"}, {R"("x")"});
  expect(R"({"pattern":"^\\u00e9\\u{1F600}[\\uD83D\\uDE00]$"})",
         {"\"\xC3\xA9\xF0\x9F\x98\x80\xF0\x9F\x98\x80\""}, {R"("e")"});
  expect(R"({"pattern":"^\\s$"})", {R"("\t")", R"(" ")", "\"\xE2\x80\x83\""}, {R"("a")"});
  expect(R"({"pattern":"^[^x]$"})", {R"("\"")", R"("\u0001")", "\"\xEF\xBF\xBD\""},
         {R"("x")", R"("ab")", "\"\x01\""});
  expect(R"({"pattern":"^a+$","minLength":2,"maxLength":3})", {R"("aa")", R"("aaa")"},
         {R"("a")", R"("aaaa")"});
  expect(R"({"pattern":"^(?<year>\\d{4})$"})", {R"("1999")"}, {R"("199")"});
  expect(R"({"pattern":"b"})", {R"("abc")", R"("\nb")"}, {R"("ac")"});
}

TEST(SchemaStrings, FormatsTakeWhatTheirReadersTake) {
  const auto format = [](const char* name) {
    return Json{{"type", "string"}, {"format", name}}.dump();
  };
  expect(format("date"), {R"("2024-02-29")", R"("1999-12-31")", R"("2000-02-29")"},
         {R"("2023-02-29")", R"("1900-02-29")", R"("2024-04-31")", R"("2024-13-01")",
          R"("24-01-01")"});
  expect(format("time"), {R"("23:59:59Z")", R"("00:00:00.123+02:00")"},
         {R"("24:00:00Z")", R"("1:00:00Z")"});
  expect(format("date-time"), {R"("2024-01-31T10:00:00Z")", R"("2024-01-31T10:00:00.5-08:00")"},
         {R"("2024-01-31")", R"("2024-01-31 10:00:00Z")", R"("2024-01-31T10:00:00")"});
  expect(format("duration"), {R"("P1DT2H")", R"("PT30M")", R"("P3W")"},
         {R"("P")", R"("PT")", R"("1D")"});
  expect(format("uuid"), {R"("123e4567-e89b-12d3-a456-426614174000")"},
         {R"("123e4567e89b12d3a456426614174000")", R"("g23e4567-e89b-12d3-a456-426614174000")"});
  expect(format("email"), {R"("a.b+c@example.org")"},
         {R"("a@b")", R"("@example.org")", R"("a b@c.de")"});
  expect(format("ipv4"), {R"("192.168.0.255")"}, {R"("256.0.0.1")", R"("1.2.3")", R"("01.2.3.4")"});
  expect(format("ipv6"), {R"("::1")", R"("2001:db8::8a2e:370:7334")", R"("1:2:3:4:5:6:7:8")"},
         {R"("1:2:3")", R"(":::1")", R"("1:2:3:4:5:6:7:8:9")"});
  expect(format("uri"), {R"("https://example.org/a?b=c#d")", R"("urn:isbn:0451450523")"},
         {R"("example.org")", R"("http://")", R"("http://a b")"});
  expect(R"({"format":"date"})", {R"("2024-01-01")"}, {R"("x")", "1"});
  expect(R"({"format":"int32"})", {"1", R"("x")"}, {});
  expect(format("hostname"), {R"("a-b.example")"}, {R"("-a.b")", R"("a..b")"});
  expect(format("x-colour"), {R"("any text")"}, {"1"});  // a format that only describes
}

TEST(SchemaStructure, ASchemaMayReferToItself) {
  expect(R"({"$defs":{"Node":{"type":"object","properties":{"v":{"type":"integer"},
      "next":{"anyOf":[{"$ref":"#/$defs/Node"},{"type":"null"}]}},"required":["v","next"]}},
      "$ref":"#/$defs/Node"})",
         {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":{"v":3,"next":null}}})"},
         {R"({"v":1})", R"({"v":1,"next":{"v":2}})"});
  expect(R"({"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#"}}},
      "required":["kids"]})",
         {R"({"kids":[]})", R"({"kids":[{"kids":[]},{"kids":[{"kids":[]}]}]})"},
         {R"({"kids":[1]})"});
  expect(R"({"properties":{"a/b":{"type":"integer"},"c":{"$ref":"#/properties/a~1b"}}})",
         {R"({"a/b":1,"c":2})"}, {R"({"c":"x"})"});
}

// A branch that could never end is not begun.
TEST(SchemaStructure, WhatHasNoEndIsNotOffered) {
  expect(R"({"$defs":{"Deep":{"type":"object","properties":{"d":{"$ref":"#/$defs/Deep"}},
      "required":["d"]}},"anyOf":[{"$ref":"#/$defs/Deep"},{"type":"null"}]})",
         {"null"}, {R"({"d":null})"});
  const Grammar grammar = schema(R"({"$defs":{"Deep":{"type":"object","properties":
      {"d":{"$ref":"#/$defs/Deep"}},"required":["d"]}},"type":"object","properties":
      {"a":{"$ref":"#/$defs/Deep"},"b":{"type":"integer"}}})");
  EXPECT_TRUE(accepts(grammar, R"({"b":1})"));
  const auto nothing = Grammar::json_schema(R"({"type":"integer","minimum":2,"maximum":1})");
  ASSERT_FALSE(nothing.ok());
  EXPECT_NE(nothing.status().message().find("no value can fit"), std::string::npos);
}

TEST(SchemaStructure, ChoicesHoldBesideTheirNeighbours) {
  expect(R"({"oneOf":[{"type":"integer"},{"type":"null"}],"discriminator":{"propertyName":"t"}})",
         {"1", "null"}, {R"("a")"});
  expect(R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},
      "anyOf":[{"required":["a"]},{"required":["b"]}]})",
         {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"}, {"{}"});
  expect(R"({"$defs":{"A":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}},
      "allOf":[{"$ref":"#/$defs/A"},{"type":"object","properties":{"b":{"type":"string"}}}]})",
         {R"({"a":1})", R"({"a":1,"b":"x"})"}, {R"({"b":"x"})", R"({"a":1,"b":2})"});
  expect(R"({"$defs":{"N":{"type":"number"}},"$ref":"#/$defs/N","minimum":2,"description":"d"})",
         {"2.5"}, {"1"});
  expect(R"({"type":"string","nullable":true,"x-order":3,"readOnly":true})", {"null", R"("a")"},
         {"1"});
}

TEST(SchemaStructure, ItemsComeInOrderOrEachOnce) {
  expect(R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,
      "minItems":2})",
         {R"([1,"a"])"}, {"[1]", R"([1,"a",2])", R"(["a",1])"});
  expect(R"({"type":"array","prefixItems":[{"type":"integer"}],"items":{"type":"boolean"}})",
         {"[]", "[1]", "[1, true, false]"}, {"[true]", "[1, 2]"});
  expect(R"({"type":"array","items":[{"type":"integer"},{"type":"null"}],"additionalItems":false})",
         {"[]", "[3,null]"}, {"[3,null,1]", "[null]"});
  expect(R"({"type":"array","items":{"enum":["a","b","c"]},"uniqueItems":true,"minItems":2})",
         {R"(["a","b"])", R"(["c","a","b"])"}, {R"(["a"])", R"(["a","a"])", R"(["a","b","a"])"});
  const auto unique = Grammar::json_schema(R"({"type":"array","items":{"type":"string"},
      "uniqueItems":true})");
  ASSERT_FALSE(unique.ok());
  EXPECT_NE(unique.status().message().find("$.uniqueItems"), std::string::npos);
}

TEST(SchemaStructure, NamesOfOtherMembersMayBeBounded) {
  expect(R"({"type":"object","propertyNames":{"pattern":"^k\\d$"},
      "additionalProperties":{"type":"integer"}})",
         {"{}", R"({"k1":1,"k2":2})"}, {R"({"x":1})", R"({"k1":"a"})"});
  expect(R"({"type":"object","propertyNames":{"enum":["a","b"]},"additionalProperties":true})",
         {R"({"a":1})"}, {R"({"c":1})"});
}

TEST(SchemaStructure, NamesMayFollowAPattern) {
  expect(R"({"type":"object","properties":{"id":{"type":"integer"}},
      "patternProperties":{"^x_":{"type":"string"}},"additionalProperties":false})",
         {"{}", R"({"id":1,"x_a":"b"})", R"({"x_":"b"})"}, {R"({"x_a":1})", R"({"y":"b"})"});
  const auto both = Grammar::json_schema(R"({"properties":{"x_id":{"type":"integer"}},
      "patternProperties":{"^x_":{"type":"string"}}})");
  ASSERT_FALSE(both.ok());
  EXPECT_NE(both.status().message().find("listed property, \"x_id\""), std::string::npos);
}

TEST(SchemaStructure, ObjectsCountTheirMembers) {
  expect(R"({"type":"object","minProperties":1,"maxProperties":2})",
         {R"({"a":1})", R"({"a":1,"b":2})"}, {"{}", R"({"a":1,"b":2,"c":3})"});
  expect(R"({"type":"object","properties":{"a":{},"b":{},"c":{}},"minProperties":2,"required":["c"],
      "maxProperties":2})",
         {R"({"a":1,"c":2})", R"({"b":1,"c":2})"}, {R"({"c":1})", R"({"a":1,"b":1,"c":2})"});
  // Neither begins with what could not be completed.
  const Grammar grammar = schema(R"({"properties":{"a":{},"b":{}},"minProperties":2})");
  EXPECT_FALSE(accepts(grammar, R"({"b":1)"));
  EXPECT_TRUE(accepts(grammar, R"({"a":1,"b":1})"));
}

TEST(SchemaStructure, KeywordsThatJsonSchemaDoesNotHaveSayNothing) {
  expect(R"({"type":"integer","javaType":"long","format":"int64","propertyOrder":1})", {"1"},
         {R"("a")"});
  expect(R"({"type":"string","enum":["a","b"],"allOf":[{"enum":["b","c"]}]})", {R"("b")"},
         {R"("a")", R"("c")"});
  expect(
      R"({"type":"object","properties":{"a":{}},"anyOf":[{"type":"string"},{"required":["a"]}]})",
      {R"({"a":1})"}, {"{}", R"("s")"});
}

TEST(SchemaStrings, LongTextsOfAPatternAreCountedToo) {
  const Grammar grammar =
      schema(R"({"type":"string","format":"uri","minLength":300,"maxLength":2083})");
  EXPECT_TRUE(accepts(grammar, "\"http://a.b/" + std::string(400, 'x') + "\""));
  EXPECT_TRUE(accepts(grammar, "\"http://a.b/" + std::string(2072, 'x') + "\""));
  EXPECT_FALSE(accepts(grammar, "\"http://a.b/" + std::string(2073, 'x') + "\""));
  EXPECT_FALSE(accepts(grammar, "\"http://a.b/\""));
}

TEST(SchemaPatterns, WhatIsNotSupportedIsSaid) {
  const auto message = [](const std::string& pattern) {
    const auto grammar =
        Grammar::json_schema(Json{{"type", "string"}, {"pattern", pattern}}.dump());
    EXPECT_FALSE(grammar.ok()) << pattern;
    return grammar.ok() ? std::string() : grammar.status().message();
  };
  for (const auto& [pattern, what] :
       std::vector<std::pair<std::string, std::string>>{{"(?!a)", "look-around"},
                                                        {"(a)\\1", "back reference"},
                                                        {"\\bx", "\\b"},
                                                        {"\\p{L}", "\\p"},
                                                        {"(a", "'(' without ')'"},
                                                        {"a)", "')' without '('"},
                                                        {"[a", "'[' without ']'"},
                                                        {"*a", "nothing to repeat"},
                                                        {"a{5000}", "more than 1000 repetitions"},
                                                        {"[b-a]", "out of order"},
                                                        {"((a{1000}){1000}){1000}", "too large"},
                                                        {"(a|b)*a(a|b){500}", "too many states"},
                                                        {std::string(1000, '('), "nesting"}}) {
    EXPECT_NE(message(pattern).find(what), std::string::npos) << message(pattern);
    EXPECT_NE(message(pattern).find("$.pattern"), std::string::npos);
  }
}

}  // namespace
}  // namespace dsa
