#include "tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "common/status_macros.h"

namespace dsa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SplitStage split_by(std::string_view pattern, bool literal = false) {
  auto read = Pattern::read("p", pattern, literal);
  EXPECT_TRUE(read.ok()) << read.status().message();
  return SplitStage{std::move(read).value()};
}

template <class... Stages>
PreTokenizer steps(Stages... stages) {
  std::vector<PreTokenizerStage> list;
  (list.emplace_back(std::move(stages)), ...);
  auto created = PreTokenizer::create(std::move(list));
  EXPECT_TRUE(created.ok()) << created.status().message();
  return std::move(created).value();
}

Result<std::vector<std::string>> pieces(const PreTokenizer& pre_tokenizer, std::string_view text) {
  std::vector<std::string> result;
  RegexScratch scratch;
  scratch.allow_steps_for(text.size());
  DSA_RETURN_IF_ERROR(pre_tokenizer.split(text, scratch, [&](std::string_view piece) {
    result.emplace_back(piece);
    return Status();
  }));
  return result;
}

TEST(PreTokenizer, KeepsMatchesAndGapsInOrder) {
  EXPECT_THAT(*pieces(steps(split_by("[0-9]{1,2}")), "a123b"), ElementsAre("a", "12", "3", "b"));
  EXPECT_THAT(*pieces(steps(split_by("x")), "abc"), ElementsAre("abc"));
  EXPECT_THAT(*pieces(steps(), "abc"), ElementsAre("abc"));
  EXPECT_THAT(*pieces(steps(split_by("x")), ""), ElementsAre());
}

// What the tokenizers library makes of "--the-final--countdown--", split by "-".
struct BehaviorCase {
  SplitBehavior behavior;
  bool invert;
  std::vector<std::string> pieces;
};

TEST(PreTokenizer, JoinsMatchesAndGapsAsItsBehaviorSays) {
  using enum SplitBehavior;
  const BehaviorCase cases[] = {
      {kRemoved, false, {"the", "final", "countdown"}},
      {kRemoved, true, {"-", "-", "-", "-", "-", "-", "-"}},
      {kIsolated, false, {"-", "-", "the", "-", "final", "-", "-", "countdown", "-", "-"}},
      {kIsolated, true, {"-", "-", "the", "-", "final", "-", "-", "countdown", "-", "-"}},
      {kContiguous, false, {"--", "the", "-", "final", "--", "countdown", "--"}},
      {kContiguous, true, {"--", "the", "-", "final", "--", "countdown", "--"}},
      {kMergedWithPrevious, false, {"-", "-", "the-", "final-", "-", "countdown-", "-"}},
      {kMergedWithPrevious, true, {"-", "-the", "-final", "-", "-countdown", "-", "-"}},
      {kMergedWithNext, false, {"-", "-the", "-final", "-", "-countdown", "-", "-"}},
      {kMergedWithNext, true, {"-", "-", "the-", "final-", "-", "countdown-", "-"}}};
  for (const BehaviorCase& expected : cases) {
    SplitStage stage = split_by("-");
    stage.behavior = expected.behavior;
    stage.invert = expected.invert;
    EXPECT_EQ(*pieces(steps(std::move(stage)), "--the-final--countdown--"), expected.pieces)
        << static_cast<int>(expected.behavior) << expected.invert;
  }
}

TEST(PreTokenizer, SplitsEachPieceAgainByTheNextStageAlone) {
  // The second stage must not see past the end of its piece: "1" ends the text for it.
  const PreTokenizer two = steps(split_by("[0-9]+"), split_by("a+(?!.)"));
  EXPECT_THAT(*pieces(two, "baa1aab"), ElementsAre("b", "aa", "1", "aab"));
}

TEST(PreTokenizer, CutsWhereThePatternMatchesNothing) {
  EXPECT_THAT(*pieces(steps(split_by("(?=b)")), "abab"), ElementsAre("a", "ba", "b"));
  EXPECT_THAT(*pieces(steps(split_by("")), "a\xC3\xA9"), ElementsAre("a", "\xC3\xA9"));
}

TEST(PreTokenizer, TakesALiteralPatternLiterally) {
  EXPECT_THAT(*pieces(steps(split_by("a.", true)), "aba.b"), ElementsAre("ab", "a.", "b"));
}

TEST(PreTokenizer, PutsASpaceInFrontWhereThereIsNone) {
  EXPECT_THAT(*pieces(steps(split_by(","), PrefixSpaceStage{}), "a, b"),
              ElementsAre(" a", " ,", " b"));
}

TEST(PreTokenizer, KnowsUnicodeClasses) {
  EXPECT_THAT(*pieces(steps(split_by(R"(\p{L}+|\p{N}{1,3}|\s+)")), "naïve１２３４\u3000да"),
              ElementsAre("naïve", "１２３", "４", "\u3000", "да"));
}

TEST(PreTokenizer, PassesOnWhatTheSinkFailsWith) {
  RegexScratch scratch;
  const Status status = steps(split_by(",")).split("a,b", scratch, [](std::string_view piece) {
    return piece == "," ? Status(StatusCode::kIoError, "full") : Status();
  });
  EXPECT_EQ(status.message(), "full");
}

TEST(PreTokenizer, EndsRunawayBacktrackingWithAnError) {
  const auto result = pieces(steps(split_by("(a+)+$")), std::string(64, 'a') + "b");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(result.status().message(), HasSubstr("match limit exceeded"));
}

TEST(PreTokenizer, AllowsWorkInProportionToTheText) {
  const std::string text(1 << 20, 'a');
  EXPECT_THAT(*pieces(steps(split_by("(?:aa?)+")), text), ElementsAre(text));
}

// Why a pattern is refused; ok when it is not.
Status compiled(std::string_view pattern) {
  DSA_ASSIGN_OR_RETURN(const Pattern read, Pattern::read("p", pattern, false));
  const Pattern* const all[] = {&read};
  DSA_ASSIGN_OR_RETURN(const Alphabet alphabet, Pattern::alphabet(all));
  return Regex::compile(read, alphabet).status();
}

struct DialectCase {
  const char* pattern;
  const char* text;
  std::vector<std::string> pieces;
};

// What the tokenizers library (0.23.3, Oniguruma 6.9.10) makes of these.
const DialectCase kDialect[] = {
    {R"(\p{S}+)",
     "a\U0001FA77\U0001FAE8b\U0001F6DC",
     {"a", "\U0001FA77\U0001FAE8", "b", "\U0001F6DC"}},
    {R"(\s+)",
     "a\u180Eb\xC2\x85"
     "\u3000c",
     {"a\u180Eb",
      "\xC2\x85"
      "\u3000",
      "c"}},
    {R"([0-9]{2}+)", "a12345b", {"a", "1234", "5b"}},
    {R"([0-9]{1}?b)", "ab1b", {"a", "b", "1b"}},
    {R"(a(?i)b|C)", "aBcabC", {"aB", "c", "ab", "C"}},
    {R"((?i:'[sk]))", "x'\u017F'K'S", {"x", "'\u017F", "'K", "'S"}},
    {R"(\h+)", "fgx1", {"f", "gx", "1"}},
    {R"((?m:a.)b?)", "a\nb", {"a\nb"}},
    {R"(\w+)", "a\u00B2\u00DF_\u0301-", {"a\u00B2\u00DF_\u0301", "-"}},
    {R"([\w]+)", "a\u00B2\u00DF_-", {"a", "\u00B2", "\u00DF_", "-"}},
    {R"([\p{L}&&[^a-c]]+)", "abcd\u00E9", {"abc", "d\u00E9"}},
    {R"([[:punct:]]+)", "a+$,b", {"a", "+$,", "b"}},
    {R"(\bb)", "ab b\u00B2b", {"ab ", "b", "\u00B2b"}},
    {R"(\R)", "a\r\nb\u2028", {"a", "\r\n", "b", "\u2028"}},
    {R"(x{,2}y)", "xxxy", {"x", "xxy"}},
    {R"(a{,b)", "aa{,b", {"a", "a{,b"}},
    {R"(\p{Han}+|\p{^Han})", "\u4E2D\u6587a", {"\u4E2D\u6587", "a"}},
    {R"((?x) a  b # c)", "ab a b", {"ab", " a b"}},
    {R"([^\S\n]+)", "a \n\tb", {"a", " ", "\n", "\t", "b"}},
    {R"(^b|a$)", "a\nb\na", {"a", "\n", "b", "\n", "a"}},
    {R"((?<q>a)b)", "aab", {"a", "ab"}},
    {R"(\u4e2d\x{6587})", "a\u4E2D\u6587", {"a", "\u4E2D\u6587"}},
    {R"([\x{4E00}-\x{9FA5}]+|é)",
     "\u65E5\u672C\u00E9\U00020000",
     {"\u65E5\u672C", "\u00E9", "\U00020000"}},
    {R"(\p{Lu}\p{Ll}+)", "\u00C9aBc\uA7CB\uA7CD", {"\u00C9a", "Bc", "\uA7CB\uA7CD"}},
    {R"([]a])", "x]a", {"x", "]", "a"}},
    {R"([a\-z]+)", "a-mz", {"a-", "m", "z"}},
    {R"([+--]+)", "+,-.", {"+,-", "."}},
};

TEST(Regex, ReadsOnigurumasDialectWithTheCharactersOfUnicode16) {
  for (const DialectCase& expected : kDialect) {
    EXPECT_EQ(*pieces(steps(split_by(expected.pattern)), expected.text), expected.pieces)
        << expected.pattern;
  }
}

TEST(Regex, RefusesByNameWhatItCannotMatchExactly) {
  const std::pair<const char*, const char*> cases[] = {
      {R"((\p{L})\1)", "byte 8 of the pattern, want no \\1"},
      {"(?i:ß)", "ignoring case of ASCII letters alone"},
      {R"((?i)[\p{L}])", "ignoring case in a class of ASCII letters alone"},
      {"(?i:first)", "want no ss, ff, fi, fl or st where case is ignored"},
      {"(?(1)a|b)", "want a group that is plain"},
      {"(*UTF)a", "want no callout"},
      {R"(\K)", "want no \\K"}};
  for (const auto& [pattern, message] : cases) {
    const Status result = compiled(pattern);
    ASSERT_FALSE(result.ok()) << pattern;
    EXPECT_EQ(result.code(), StatusCode::kUnsupported) << pattern;
    EXPECT_THAT(result.message(), HasSubstr(message));
  }
  std::string many;
  for (int i = 0; i < 129; ++i)
    many += {static_cast<char>(0xC4 + i / 64), static_cast<char>(0x80 + i % 64)};
  EXPECT_THAT(compiled(many).message(), HasSubstr("128 kinds of characters"));
  EXPECT_FALSE(compiled(std::string(20'000, 'a')).ok());
}

TEST(Regex, EndsABrokenPatternWithAnError) {
  for (const char* pattern : {"(", ")", "[", "[[a]", "[a-", "[b-a]", "\\", "[\\", "(?", "(?i",
                              "(?<", "\\x{110000}", "\\p{Nothing}", "\\p{", "a**", "[a&&", "(?#"}) {
    const Status result = compiled(pattern);
    EXPECT_EQ(result.ok(), std::string_view(pattern) == "(?#") << pattern;
  }
  EXPECT_FALSE(compiled(std::string(1000, '[')).ok());
  EXPECT_FALSE(compiled(std::string(10'000, '(')).ok());
}

TEST(Regex, NamesThePlaceOfAMistake) {
  EXPECT_EQ(compiled("a[b").message(),
            "p: missing terminating ] for character class at byte 3 of the pattern");
  EXPECT_EQ(compiled("ab**").message(),
            "p: quantifier does not follow a repeatable item at byte 4 of the pattern");
}

}  // namespace
}  // namespace dsa
