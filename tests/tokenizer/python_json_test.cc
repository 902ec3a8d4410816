#include "tokenizer/python_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dsa {
namespace {

using testing::HasSubstr;

std::string dumped(std::string_view text) {
  const auto value = parse_json(text);
  EXPECT_TRUE(value.ok()) << text << ": " << value.status().message();
  return value.ok() ? dump_json(*value) : "";
}

struct Spelling {
  const char* text;
  const char* want;  // what Python 3.11's json.dumps(json.loads(text), ensure_ascii=False) gave
};

void PrintTo(const Spelling& spelling, std::ostream* out) {
  *out << spelling.text;
}

class PythonJson : public testing::TestWithParam<Spelling> {};

TEST_P(PythonJson, SpellsValuesLikePython) {
  EXPECT_EQ(dumped(GetParam().text), GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(Numbers,
                         PythonJson,
                         testing::Values(Spelling{"1.0", "1.0"},
                                         Spelling{"1e20", "1e+20"},
                                         Spelling{"1E5", "100000.0"},
                                         Spelling{"0.1", "0.1"},
                                         Spelling{"1e-5", "1e-05"},
                                         Spelling{"0.0001", "0.0001"},
                                         Spelling{"123456789012345680.0", "1.2345678901234568e+17"},
                                         Spelling{"1e16", "1e+16"},
                                         Spelling{"1e15", "1000000000000000.0"},
                                         Spelling{"-0", "0"},
                                         Spelling{"-0.0", "-0.0"},
                                         Spelling{"1.5e300", "1.5e+300"},
                                         Spelling{"5e-324", "5e-324"},
                                         Spelling{"0.30000000000000004", "0.30000000000000004"},
                                         Spelling{"9007199254740993", "9007199254740993"},
                                         Spelling{"123456.789e3", "123456789.0"},
                                         Spelling{"-9223372036854775809", "-9223372036854775809"},
                                         Spelling{"18446744073709551616", "18446744073709551616"},
                                         Spelling{"12345678901234567890123",
                                                  "12345678901234567890123"}));

INSTANTIATE_TEST_SUITE_P(
    Others,
    PythonJson,
    testing::Values(Spelling{" null ", "null"},
                    Spelling{"[true,false]", "[true, false]"},
                    Spelling{R"({"b":1,"a":2,"b":3,"c":{},"d":[]})",
                             R"({"b": 3, "a": 2, "c": {}, "d": []})"},
                    Spelling{R"({"a":[1],"a":{"b":2}})", R"({"a": {"b": 2}})"},
                    Spelling{R"("\"\\\n\r\t\b\f\u0000\u001f\u007f\/\u00e9😀\ud83d\ude00")",
                             "\"\\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\x7f/é😀😀\""}));

TEST(PythonJsonErrors, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "nul", "1 2", "\"\\ud800\"", "\"\xFF\"",
                           "NaN", "Infinity", "01"}) {
    EXPECT_FALSE(parse_json(text).ok()) << text;
  }
}

TEST(PythonJsonErrors, RefusesNumbersPastTheRangeOfADouble) {
  EXPECT_FALSE(parse_json("1e400").ok());
}

TEST(PythonJsonErrors, RefusesDeepNestingAtItsLimit) {
  const auto nested = [](std::size_t depth) {
    return parse_json(std::string(depth, '[') + std::string(depth, ']'));
  };
  EXPECT_TRUE(nested(128).ok());
  EXPECT_THAT(nested(129).status().message(), HasSubstr("nested deeper than 128 levels"));
  EXPECT_FALSE(nested(1'000'000).ok());
}

TEST(PythonJsonErrors, KnowsWhatPythonTakesForFalse) {
  for (const char* text : {"null", "false", "0", "0.0", "-0.0", "\"\"", "[]", "{}"}) {
    EXPECT_TRUE(parse_json(text)->empty()) << text;
  }
  for (const char* text : {"true", "1", "-0.5", "\"0\"", "[0]", "{\"a\": null}"}) {
    EXPECT_FALSE(parse_json(text)->empty()) << text;
  }
}

}  // namespace
}  // namespace dsa
