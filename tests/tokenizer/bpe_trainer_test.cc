#include "dsa/bpe_trainer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <stdlib.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "dsa/chat.h"
#include "dsa/tokenizer.h"

#include "tests/tokenizer/fixtures.h"
#include "tests/tokenizer/tiny_tokenizer.h"
#include "tokenizer/byte_level.h"

namespace dsa {
namespace {

[[maybe_unused]] const int kSeeded = setenv("RC_PARAMS", "seed=1", 0);

constexpr int32_t kGivenIds = 264;

std::string train(const std::vector<std::string>& texts,
                  int32_t vocab_size,
                  int64_t min_count = 2) {
  auto trainer = BpeTrainer::create({.vocab_size = vocab_size, .min_count = min_count});
  EXPECT_TRUE(trainer.ok()) << trainer.status().message();
  for (const std::string& text : texts)
    EXPECT_TRUE(trainer->add(text).ok());
  return trainer->train();
}

Tokenizer trained(const std::vector<std::string>& texts, int32_t vocab_size) {
  auto tokenizer = Tokenizer::parse(train(texts, vocab_size));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return std::move(tokenizer).value();
}

std::vector<std::string> learned(const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (int32_t id = kGivenIds; id < tokenizer.vocab_size(); ++id)
    texts.emplace_back(tokenizer.token_text(id));
  return texts;
}

// Merges of one piece by counting everything anew each time.
std::vector<std::string> naive_merges(const std::string& piece, std::size_t n) {
  std::vector<int> word;
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte)
    texts.emplace_back(1, static_cast<char>(byte));
  for (const char c : piece)
    word.push_back(static_cast<uint8_t>(c));
  while (texts.size() < 256 + n) {
    std::map<std::pair<int, int>, int> counts;
    for (std::size_t i = 0; i + 1 < word.size(); ++i)
      ++counts[{word[i], word[i + 1]}];
    std::pair<int, int> best{};
    int most = 1;
    for (const auto& [pair, count] : counts) {
      if (count > most) {
        best = pair;
        most = count;
      }
    }
    if (most < 2) break;
    const std::string text =
        texts[static_cast<std::size_t>(best.first)] + texts[static_cast<std::size_t>(best.second)];
    auto place = std::find(texts.begin(), texts.end(), text);
    const auto id = static_cast<int>(place - texts.begin());
    if (place == texts.end()) texts.push_back(text);
    std::vector<int> merged;
    for (std::size_t i = 0; i < word.size(); ++i) {
      const bool here = i + 1 < word.size() && word[i] == best.first && word[i + 1] == best.second;
      merged.push_back(here ? id : word[i]);
      if (here) ++i;
    }
    word = merged;
  }
  return {texts.begin() + 256, texts.end()};
}

TEST(BpeTrainer, MergesTheMostFrequentPairFirst) {
  const Tokenizer tokenizer = trained({"abab abab cd"}, kGivenIds + 3);
  EXPECT_EQ(learned(tokenizer), (std::vector<std::string>{"ab", "abab"}));
}

TEST(BpeTrainer, OfEquallyFrequentPairsMergesTheLowerIdsFirst) {
  const Tokenizer tokenizer = trained({"yz\nyz\nbc\nbc\nbd\nbd"}, kGivenIds + 3);
  EXPECT_EQ(learned(tokenizer), (std::vector<std::string>{"bc", "bd", "yz"}));
}

TEST(BpeTrainer, GivesTheSameFileForTheSameTextsInAnyOrder) {
  const std::string a = "In the beginning God created the heaven and the earth. ";
  const std::string b = "And the earth was without form, and void; ";
  EXPECT_EQ(train({a, b, a}, 300), train({b, a, a}, 300));
  EXPECT_EQ(train({a, b}, 300), train({a + b}, 300));
}

TEST(BpeTrainer, StopsWhereNoPairIsLeft) {
  const Tokenizer tokenizer = trained({"abc", "abc"}, 4096);
  EXPECT_EQ(learned(tokenizer), (std::vector<std::string>{"ab", "abc"}));
  EXPECT_EQ(trained({}, 4096).vocab_size(), kGivenIds);
}

TEST(BpeTrainer, MergesNothingAcrossPieces) {
  const Tokenizer tokenizer = trained({"x1 x1 x1 x1 x1\n\n"}, 4096);
  for (const std::string& text : learned(tokenizer))
    EXPECT_EQ(text.find("x1"), std::string::npos) << text;
}

TEST(BpeTrainer, LearnsNoTokenThatSpellsAControlToken) {
  std::string text;
  for (int i = 0; i < 50; ++i)
    text += "<｜<｜｜>";
  const Tokenizer tokenizer = trained({"｜DSML｜｜DSML｜</think><think>" + text}, 600);
  EXPECT_EQ(*tokenizer.token_id("<think>"), 5);
  const auto ids = tokenizer.encode("｜DSML｜", false);
  ASSERT_TRUE(ids.ok());
  EXPECT_NE(*ids, (std::vector<int32_t>{7}));
}

TEST(BpeTrainer, KnowsTheTokensOfTheChatEncoding) {
  const Tokenizer tokenizer = trained({"Hello there"}, 300);
  const auto prompt =
      encode_chat(std::string_view(R"([{"role":"user","content":"Hi"}])"), {.thinking = true});
  ASSERT_TRUE(prompt.ok());
  const auto ids = tokenizer.encode(*prompt);
  ASSERT_TRUE(ids.ok());
  ASSERT_EQ(ids->size(), 6U);
  EXPECT_EQ(ids->front(), 0);
  EXPECT_EQ((*ids)[1], 3);
  EXPECT_EQ((*ids)[4], 4);
  EXPECT_EQ(ids->back(), 5);
  EXPECT_TRUE(tokenizer.is_special(0) && tokenizer.is_special(1) && tokenizer.is_special(2));
  EXPECT_FALSE(tokenizer.is_special(3));
}

TEST(BpeTrainer, LearnsFromBytesThatAreNotUtf8) {
  const Tokenizer tokenizer = trained({"ab\xFF\xFE ab\xC3", "\xFF"}, 300);
  const std::string bytes = "\xFF\xC3 ab";
  EXPECT_EQ(*tokenizer.decode(*tokenizer.encode(bytes)), bytes);
}

TEST(BpeTrainer, TakesALongRunWithoutSpacesInGoodTime) {
  std::string text;
  uint32_t state = 1;
  for (int i = 0; i < 1 << 18; ++i) {
    state = state * 1664525 + 1013904223;
    text.push_back(static_cast<char>('a' + (state >> 24) % 26));
  }
  EXPECT_EQ(trained({text, std::string(1 << 18, 'a')}, 1000).vocab_size(), 1000);
}

TEST(BpeTrainer, EndsEarlyWhenProgressSaysSo) {
  auto trainer = BpeTrainer::create({.vocab_size = 2000});
  ASSERT_TRUE(trainer.ok());
  ASSERT_TRUE(trainer->add(test::read_file(test::kBabyModel + "/heldout.txt")).ok());
  const auto tokenizer = Tokenizer::parse(trainer->train([](int64_t, int64_t) { return false; }));
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_LT(tokenizer->vocab_size(), 400);
}

TEST(BpeTrainer, RefusesOptionsOutOfRange) {
  EXPECT_EQ(BpeTrainer::create({.vocab_size = 263}).status().message(),
            "vocab_size: 263, want 264 to 1048576");
  EXPECT_FALSE(BpeTrainer::create({.vocab_size = 300, .min_count = 0}).ok());
}

TEST(BpeTrainer, SpellsEveryByteAsFilesDo) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    EXPECT_EQ(spelling_of_bytes(bytes), test::spell_byte(byte));
    EXPECT_EQ(bytes_of_spelling(spelling_of_bytes(bytes)), bytes);
  }
}

RC_GTEST_PROP(BpeTrainer, LearnsWhatCountingAnewEachTimeLearns, ()) {
  const auto letters = rc::gen::container<std::string>(rc::gen::inRange('a', 'd'));
  const std::string piece = *rc::gen::resize(200, letters);
  const Tokenizer tokenizer = trained({piece}, kGivenIds + 20);
  RC_ASSERT(learned(tokenizer) == naive_merges(piece, 20));
}

RC_GTEST_PROP(BpeTrainer,
              WritesATokenizerThatDecodesWhatItEncoded,
              (const std::string& seen, const std::string& other)) {
  const Tokenizer tokenizer = trained({seen + seen + seen}, 400);
  for (const std::string& text : {seen, other}) {
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, special);
      RC_ASSERT(ids.ok());
      RC_ASSERT(*tokenizer.decode(*ids) == text);
    }
  }
}

TEST(BpeTrainer, CompressesTextLikeAnotherTrainerDoes) {
  const std::string text = test::read_file(test::kBabyModel + "/heldout.txt");
  const Tokenizer tokenizer = trained({text}, 2048);
  EXPECT_EQ(tokenizer.vocab_size(), 2048);
  EXPECT_LT(tokenizer.encode(text)->size(), test::baby_tokenizer().encode(text)->size());
}

}  // namespace
}  // namespace dsa
