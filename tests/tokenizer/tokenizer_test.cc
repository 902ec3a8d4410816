#include "dsa/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/tokenizer/fixtures.h"
#include "tests/tokenizer/tiny_tokenizer.h"

namespace dsa {
namespace {

using test::cut;
using test::Json;
using test::parse_good;
using test::tiny_json;
using testing::ElementsAre;
using testing::HasSubstr;

Json abc() {
  return tiny_json({{"a", "b"}, {"b", "c"}, {"ab", "c"}});
}

TEST(Tokenizer, MergesTheLowestRankFirstAndTheLeftmostOfEquals) {
  const Tokenizer tokenizer = parse_good(tiny_json({{"b", "c"}, {"a", "b"}, {"a", "a"}}));
  EXPECT_THAT(cut(tokenizer, "abc"), ElementsAre("a", "bc"));
  EXPECT_THAT(cut(tokenizer, "abab"), ElementsAre("ab", "ab"));
  EXPECT_THAT(cut(tokenizer, "aaa"), ElementsAre("aa", "a"));
}

TEST(Tokenizer, ReadsMergesInBothSpellings) {
  Json json = abc();
  json["model"]["merges"] = {"a b", "b c", "ab c"};
  EXPECT_THAT(cut(parse_good(json), "abc"), ElementsAre("abc"));
  EXPECT_THAT(cut(parse_good(abc()), "abc"), ElementsAre("abc"));
}

TEST(Tokenizer, TakesAWholePieceFromTheVocabularyWhenMergesAreIgnored) {
  Json json = tiny_json({{"a", "b"}});
  json["model"]["vocab"]["xyz"] = 258;
  EXPECT_THAT(cut(parse_good(json), "xyz"), ElementsAre("x", "y", "z"));
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(cut(parse_good(json), "xyz"), ElementsAre("xyz"));
  EXPECT_THAT(cut(parse_good(json), "xyzab"), ElementsAre("x", "y", "z", "ab"));
}

TEST(Tokenizer, RecognisesAddedTokensOnlyWhenAsked) {
  const Tokenizer tokenizer = parse_good(abc());
  EXPECT_THAT(cut(tokenizer, "ab<end>c"), ElementsAre("ab", "<end>", "c"));
  EXPECT_THAT(cut(tokenizer, "<end>", false), ElementsAre("<", "e", "n", "d", ">"));
}

TEST(Tokenizer, TakesTheLongestAddedTokenAndThoseBeforeNormalizationFirst) {
  Json json = abc();
  json["added_tokens"] = {{{"id", 259}, {"content", "<e>"}},
                          {{"id", 260}, {"content", "<e>>"}},
                          {{"id", 261}, {"content", "x<"}, {"normalized", true}},
                          {{"id", 262}, {"content", "<e>s"}, {"special", true}}};
  const Tokenizer tokenizer = parse_good(json);
  EXPECT_THAT(cut(tokenizer, "<e>>><e>"), ElementsAre("<e>>", ">", "<e>"));
  EXPECT_THAT(cut(tokenizer, "x<e>s"), ElementsAre("x", "<e>s"));
  EXPECT_THAT(cut(tokenizer, "x<e>t"), ElementsAre("x<", "e", ">", "t"));
}

TEST(Tokenizer, SkipsSpecialTokensWhenDecodingIfAsked) {
  const Tokenizer tokenizer = parse_good(abc());
  const std::vector<int32_t> ids = {258, 259};
  EXPECT_EQ(*tokenizer.decode(ids), "abc<end>");
  EXPECT_EQ(*tokenizer.decode(ids, true), "abc");
}

TEST(Tokenizer, FindsTokensByTextAndTextByToken) {
  const Tokenizer tokenizer = parse_good(abc());
  EXPECT_EQ(tokenizer.vocab_size(), 260);
  EXPECT_EQ(tokenizer.token_id("abc"), 258);
  EXPECT_EQ(tokenizer.token_id("<end>"), 259);
  EXPECT_EQ(tokenizer.token_id("\xFF"), 255);
  EXPECT_EQ(tokenizer.token_id("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.token_text(' '), " ");
  EXPECT_EQ(tokenizer.token_text(-1), "");
  EXPECT_EQ(tokenizer.token_text(260), "");
  EXPECT_TRUE(tokenizer.is_special(259));
  EXPECT_FALSE(tokenizer.is_special(260));
}

TEST(Tokenizer, RefusesToDecodeAnIdItDoesNotHave) {
  const Tokenizer tokenizer = parse_good(abc());
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{1, 260}).status().message(),
            "ids[1]: 260, want an id in [0, 260)");
  EXPECT_FALSE(tokenizer.decode(std::vector<int32_t>{-1}).ok());
}

TEST(Tokenizer, GivesBytesThatAreNotUtf8BackUnchanged) {
  std::string text = "\xFFx\xC3\xA9\xC3<end>\xE4\xBD";
  for (int byte = 0; byte < 256; ++byte)
    text += static_cast<char>(byte);
  const Tokenizer tokenizer = parse_good(abc());
  const auto ids = tokenizer.encode(text);
  ASSERT_TRUE(ids.ok()) << ids.status().message();
  EXPECT_EQ(*tokenizer.decode(*ids), text);
}

TEST(Tokenizer, NamesAByteTheVocabularyLacks) {
  Json json = tiny_json({});
  json["model"]["vocab"].erase("z");
  json["model"]["vocab"]["{}"] = 'z';
  const auto ids = parse_good(json).encode("abz");
  EXPECT_EQ(ids.status().message(), "text: byte 0x7a, want one the vocabulary spells");
}

TEST(Tokenizer, FallsBackToByteTokensWhenTheFileSaysSo) {
  Json json = tiny_json({});
  json["model"]["vocab"].erase("z");
  json["model"]["vocab"]["<0x7A>"] = 'z';
  EXPECT_FALSE(parse_good(json).encode("z").ok());
  json["model"]["byte_fallback"] = true;
  const Tokenizer tokenizer = parse_good(json);
  const auto ids = tokenizer.encode("az");
  ASSERT_TRUE(ids.ok()) << ids.status().message();
  EXPECT_EQ(*tokenizer.decode(*ids), "az");
  EXPECT_EQ(tokenizer.token_id("z"), 'z');
}

TEST(Tokenizer, SplitsByPatternBeforeMerging) {
  Json json = tiny_json({{"b", " "}, {" ", "a"}, {"a", "b"}});
  EXPECT_THAT(cut(parse_good(json), "abab ab"), ElementsAre("ab", "a", "b ", "ab"));
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_THAT(cut(parse_good(json), "abab ab"), ElementsAre("ab", "ab", " a", "b"));
  json["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_THAT(cut(parse_good(json), "ab"), ElementsAre(" a", "b"));

  const Json split = {{"type", "Split"},
                      {"pattern", {{"String", "b"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  const Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
  EXPECT_THAT(cut(parse_good(json), "abab"), ElementsAre("a", "b", "a", "b"));
}

TEST(Tokenizer, PassesOverWhatDoesNotChangeTheIdsOfOneText) {
  Json json = abc();
  json["truncation"] = {{"max_length", 1}, {"direction", "Right"}};
  json["padding"] = {{"strategy", {{"Fixed", 8}}}, {"pad_id", 0}};
  json["model"]["dropout"] = 0.0;
  EXPECT_THAT(cut(parse_good(json), "abcab"), ElementsAre("abc", "ab"));
  json["model"]["dropout"] = 0;
  EXPECT_THAT(cut(parse_good(json), "abc"), ElementsAre("abc"));
}

Json with_added(const Json& flags) {
  Json json = tiny_json({});
  json["added_tokens"] = {{{"id", 256}, {"content", "<x>"}}, {{"id", 257}, {"content", "\n"}}};
  json["added_tokens"][0].update(flags);
  return json;
}

TEST(Tokenizer, LetsAnAddedTokenTakeTheWhiteSpaceBesideIt) {
  const Tokenizer left = parse_good(with_added({{"lstrip", true}}));
  EXPECT_EQ(*left.encode("a \t\u3000<x> b"), (std::vector<int32_t>{'a', 256, ' ', 'b'}));
  EXPECT_EQ(*left.encode(" <x> <x>"), (std::vector<int32_t>{256, 256}));
  const Tokenizer right = parse_good(with_added({{"rstrip", true}}));
  EXPECT_EQ(*right.encode(" <x> \u0085b"), (std::vector<int32_t>{' ', 256, 'b'}));
  // A token of white space is found all the same.
  EXPECT_EQ(*right.encode("<x> \n b"), (std::vector<int32_t>{256, 257, ' ', 'b'}));
  EXPECT_EQ(*right.encode("<x> \n b", false), *left.encode("<x> \n b", false));
}

TEST(Tokenizer, FindsATokenThatIsAWordOnlyBetweenWords) {
  Json json = with_added({{"single_word", true}, {"content", "ab"}});
  const Tokenizer tokenizer = parse_good(json);
  EXPECT_EQ(*tokenizer.encode("ab ab-ab"), (std::vector<int32_t>{256, ' ', 256, '-', 256}));
  for (const char* text : {"xab", "ab_", "\u00E9ab", "ab\u0301", "abab", "ab\u200D"}) {
    const auto ids = tokenizer.encode(text);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(std::count(ids->begin(), ids->end(), 256), 0) << text;
  }
}

TEST(Tokenizer, NormalizesTextAndTheTokensFoundInIt) {
  Json json = tiny_json({});
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"] = {{{"id", 256}, {"content", "e\u0301"}, {"normalized", false}},
                          {{"id", 257}, {"content", "o\u0301"}, {"normalized", true}}};
  const Tokenizer tokenizer = parse_good(json);
  const auto text_of = [&](std::string_view text, bool special_tokens) {
    return *tokenizer.decode(*tokenizer.encode(text, special_tokens));
  };
  EXPECT_EQ(text_of("a\u0301", true), "\u00E1");
  EXPECT_EQ(*tokenizer.encode("e\u0301"), (std::vector<int32_t>{256}));
  EXPECT_EQ(text_of("e\u0301", false), "\u00E9");
  EXPECT_EQ(*tokenizer.encode("\u00F3"), (std::vector<int32_t>{257}));
  EXPECT_EQ(*tokenizer.encode("o\u0301"), (std::vector<int32_t>{257}));
  EXPECT_EQ(text_of("\xFF"
                    "a\u0301\xC3",
                    true),
            "\xFF\u00E1\xC3");
}

TEST(Tokenizer, TellsWhatThePostProcessorPutsAround) {
  Json json = abc();
  const Json around = {{"type", "TemplateProcessing"},
                       {"single",
                        {{{"SpecialToken", {{"id", "<end>"}, {"type_id", 0}}}},
                         {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                         {{"SpecialToken", {{"id", "<end>"}, {"type_id", 0}}}}}},
                       {"special_tokens", {{"<end>", {{"id", "<end>"}, {"ids", {259, 7}}}}}}};
  json["post_processor"] = {{"type", "Sequence"},
                            {"processors", {{{"type", "ByteLevel"}}, around}}};
  const Tokenizer tokenizer = parse_good(json);
  EXPECT_THAT(tokenizer.prefix_ids(), ElementsAre(259, 7));
  EXPECT_THAT(tokenizer.suffix_ids(), ElementsAre(259, 7));
  EXPECT_THAT(cut(tokenizer, "a"), ElementsAre("a"));
  EXPECT_TRUE(parse_good(abc()).prefix_ids().empty());
}

TEST(Tokenizer, GivesTheSameIdsToManyThreadsAtOnce) {
  const Tokenizer tokenizer = parse_good(abc());
  const auto want = tokenizer.encode("abc abcabc<end>bcab");
  std::vector<std::thread> threads;
  std::vector<int> agreed(4, 0);
  for (int& n : agreed) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i)
        n += *tokenizer.encode("abc abcabc<end>bcab") == *want ? 1 : 0;
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_THAT(agreed, ElementsAre(50, 50, 50, 50));
}

TEST(Tokenizer, EncodesLongRunsWholeWithoutQuadraticWork) {
  const Tokenizer& tokenizer = test::baby_tokenizer();
  for (const char c : {'a', ' ', '\n', '7', '!', '\xFF'}) {
    const std::string run(200'000, c);
    const auto ids = tokenizer.encode(run);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*tokenizer.decode(*ids), run);
  }
}

TEST(Tokenizer, OpensAFolderOrAFileAndNamesOneThatIsNotThere) {
  const auto file = Tokenizer::open(test::kBabyModel + "/tokenizer.json");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->vocab_size(), test::baby_tokenizer().vocab_size());
  const auto missing = Tokenizer::open("/no/such/folder");
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("/no/such/folder"));
}

struct BadFile {
  const char* name;
  std::function<void(Json&)> damage;
  StatusCode code;
  const char* message;  // a part of it
};

void PrintTo(const BadFile& bad, std::ostream* out) {
  *out << bad.name;
}

class BadTokenizerFile : public testing::TestWithParam<BadFile> {};

TEST_P(BadTokenizerFile, IsRefusedByName) {
  Json json = abc();
  GetParam().damage(json);
  const auto result = Tokenizer::parse(json.dump(), "t.json");
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.status().message(), HasSubstr(GetParam().message));
  EXPECT_EQ(result.status().code(), GetParam().code);
}

constexpr StatusCode kBad = StatusCode::kCorruption;
constexpr StatusCode kNotDone = StatusCode::kUnsupported;

Json split_step(const char* pattern, const char* behavior) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}};
}

INSTANTIATE_TEST_SUITE_P(
    Model,
    BadTokenizerFile,
    testing::Values(BadFile{"no_model", [](Json& j) { j.erase("model"); }, kBad,
                            "t.json: model: missing"},
                    BadFile{"array", [](Json& j) { j = Json::array(); }, kBad,
                            "t.json: an array, want an object"},
                    BadFile{"unigram", [](Json& j) { j["model"]["type"] = "Unigram"; }, kNotDone,
                            "t.json: model.type: \"Unigram\", want \"BPE\""},
                    BadFile{"dropout", [](Json& j) { j["model"]["dropout"] = 0.5; }, kNotDone,
                            "model.dropout: 0.5, want null or 0"},
                    BadFile{"suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; },
                            kNotDone, "model.end_of_word_suffix: \"</w>\""},
                    BadFile{"vocab_list", [](Json& j) { j["model"]["vocab"] = Json::array(); },
                            kBad, "model.vocab: an array, want an object"},
                    BadFile{"id_text", [](Json& j) { j["model"]["vocab"]["a"] = "97"; }, kBad,
                            "model.vocab[\"a\"]: \"97\", want an integer"},
                    BadFile{"id_negative", [](Json& j) { j["model"]["vocab"]["a"] = -1; }, kBad,
                            "model.vocab[\"a\"]: -1, want an id in [0, 260)"},
                    BadFile{"id_huge", [](Json& j) { j["model"]["vocab"]["a"] = int64_t{1} << 32; },
                            kBad, "model.vocab[\"a\"]: 4294967296, want an id in"},
                    BadFile{"id_twice", [](Json& j) { j["model"]["vocab"]["a"] = 98; }, kBad,
                            "want an id that no other token has"},
                    BadFile{"hole",
                            [](Json& j) {
                              j["model"]["vocab"].erase("~");
                              j["added_tokens"].push_back({{"id", 260}, {"content", "<x>"}});
                            },
                            kBad, "want an id in [0, 260)"},
                    BadFile{"merge_unknown",
                            [](Json& j) {
                              j["model"]["merges"].push_back({"a", "z"});
                            },
                            kBad, "model.merges[3]: an array, want \"az\" to be in model.vocab"},
                    BadFile{"merge_three",
                            [](Json& j) {
                              j["model"]["merges"][1] = {"a", "b", "c"};
                            },
                            kBad, "model.merges[1]"},
                    BadFile{"merge_one", [](Json& j) { j["model"]["merges"][1] = "ab"; }, kBad,
                            "model.merges[1]: \"ab\", want"},
                    BadFile{"merge_twice", [](Json& j) { j["model"]["merges"].push_back("a b"); },
                            kBad, "model.merges[3]: \"a b\", want each merge once"},
                    BadFile{"no_merges", [](Json& j) { j["model"].erase("merges"); }, kBad,
                            "model.merges: missing"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    AddedTokens,
    BadTokenizerFile,
    testing::Values(
        BadFile{"empty", [](Json& j) { j["added_tokens"][0]["content"] = ""; }, kBad,
                "added_tokens[0].content: \"\", want a text"},
        BadFile{"flag_text", [](Json& j) { j["added_tokens"][0]["rstrip"] = "no"; }, kBad,
                "added_tokens[0].rstrip: \"no\", want true or false"},
        BadFile{"id_taken", [](Json& j) { j["added_tokens"][0]["id"] = 5; }, kBad,
                "added_tokens[0].id: 5, want an id that no other token has"},
        BadFile{"text_taken", [](Json& j) { j["added_tokens"][0]["content"] = "abc"; }, kBad,
                "added_tokens[0].content: \"abc\", want the id 258"},
        BadFile{"twice", [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); }, kBad,
                "added_tokens[1].id: 259, want an id that no other token has"},
        BadFile{"spelled_bytes",
                [](Json& j) {
                  j["added_tokens"].push_back({{"id", 32}, {"content", test::spell(" ")}});
                },
                kNotDone, "added_tokens[1].content"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Steps,
    BadTokenizerFile,
    testing::Values(
        BadFile{"lowercase",
                [](Json& j) {
                  j["normalizer"] = {{"type", "Lowercase"}};
                },
                kNotDone, "normalizer.type: \"Lowercase\", want null, \"NFC\""},
        BadFile{"strip_list",
                [](Json& j) {
                  j["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "Strip"}}}}};
                },
                kNotDone, "normalizer.normalizers[0].type: \"Strip\""},
        BadFile{"many_normalizers",
                [](Json& j) {
                  const Json forms(9, {{"type", "NFC"}});
                  j["normalizer"] = {{"type", "Sequence"}, {"normalizers", forms}};
                },
                kNotDone, "normalizer.normalizers[8]: an object, want at most 8 normalizers"},
        BadFile{"decoder", [](Json& j) { j["decoder"]["type"] = "WordPiece"; }, kNotDone,
                "decoder.type: \"WordPiece\""},
        BadFile{"no_decoder", [](Json& j) { j["decoder"] = nullptr; }, kBad, "decoder: missing"},
        BadFile{"metaspace",
                [](Json& j) {
                  j["pre_tokenizer"] = {{"type", "Metaspace"}};
                },
                kNotDone, "pre_tokenizer.type: \"Metaspace\""},
        BadFile{"split_alone", [](Json& j) { j["pre_tokenizer"] = split_step("a", "Isolated"); },
                kNotDone, "pre_tokenizer: an object, want a ByteLevel at the end"},
        BadFile{"pattern", [](Json& j) { j["pre_tokenizer"] = split_step("a(", "Isolated"); }, kBad,
                "pre_tokenizer.pattern.Regex: missing closing parenthesis at byte 2"},
        BadFile{"behavior", [](Json& j) { j["pre_tokenizer"] = split_step("a", "Merged"); },
                kNotDone, "pre_tokenizer.behavior: \"Merged\", want \"Removed\""},
        BadFile{"many_steps",
                [](Json& j) {
                  const Json steps(65, split_step("a", "Isolated"));
                  j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
                },
                kNotDone, "pretokenizers[64]: an object, want at most 64 steps"},
        BadFile{"post",
                [](Json& j) {
                  j["post_processor"] = {{"type", "BertProcessing"}};
                },
                kNotDone, "post_processor.type: \"BertProcessing\""},
        BadFile{"post_id",
                [](Json& j) {
                  j["post_processor"] = {{"type", "TemplateProcessing"},
                                         {"single", {{{"SpecialToken", {{"id", "s"}}}}}},
                                         {"special_tokens", {{"s", {{"ids", {260}}}}}}};
                },
                kBad, "post_processor.special_tokens.s.ids[0]: 260, want an id in [0, 260)"}),
    [](const auto& test) { return test.param.name; });

TEST(Tokenizer, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "{\"model\": }", "\xFF"}) {
    const auto result = Tokenizer::parse(text, "t.json");
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(result.status().code(), StatusCode::kCorruption);
    EXPECT_THAT(result.status().message(), HasSubstr("t.json: "));
  }
  EXPECT_FALSE(Tokenizer::parse(std::string(100'000, '[')).ok());
}

TEST(Tokenizer, RefusesATokenThatIsThereTwice) {
  std::string text = abc().dump();
  const std::string first = "\"b\":98";
  text.replace(text.find(first), first.size(), "\"a\":98");
  const auto result = Tokenizer::parse(text);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.status().message(), HasSubstr("model.vocab[\"a\"]: 98, want each token once"));
}

}  // namespace
}  // namespace dsa
