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
  auto regex = Regex::compile(pattern, literal);
  EXPECT_TRUE(regex.ok()) << regex.status().message();
  return SplitStage{std::move(regex).value()};
}

template <class... Stages>
PreTokenizer steps(Stages... stages) {
  std::vector<PreTokenizerStage> list;
  (list.emplace_back(std::move(stages)), ...);
  return PreTokenizer(std::move(list));
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

TEST(PreTokenizer, LeavesOutWhatTheStageDoesNotKeep) {
  SplitStage gaps = split_by(" ");
  gaps.keep_matches = false;
  EXPECT_THAT(*pieces(steps(std::move(gaps)), " a  b"), ElementsAre("a", "b"));
  SplitStage matches = split_by("[a-z]+");
  matches.keep_gaps = false;
  EXPECT_THAT(*pieces(steps(std::move(matches)), "1ab2c3"), ElementsAre("ab", "c"));
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

TEST(Regex, NamesThePlaceOfAMistake) {
  const auto result = Regex::compile("a[b", false);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().message(),
            "missing terminating ] for character class at byte 3 of the pattern");
}

}  // namespace
}  // namespace dsa
