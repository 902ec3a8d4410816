// The tokenizer and the chat encoding against the outputs of other implementations.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "dsa/chat.h"

#include "tests/tokenizer/fixtures.h"

namespace dsa {
namespace {

using test::read_file;

// Tensor `tokens` of a safetensors file: 8 bytes header length, JSON header, data.
std::vector<int32_t> read_tokens(const std::string& path) {
  const std::string file = read_file(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const auto header = nlohmann::json::parse(file.substr(8, header_bytes));
  const auto& tensor = header.at("tokens");
  EXPECT_EQ(tensor.at("dtype"), "I32");
  std::vector<int32_t> tokens(tensor.at("shape").at(0).get<std::size_t>());
  const auto begin = tensor.at("data_offsets").at(0).get<std::size_t>();
  std::memcpy(tokens.data(), file.data() + 8 + header_bytes + begin,
              tokens.size() * sizeof(int32_t));
  return tokens;
}

TEST(Conformance, GivesTheIdsThatTwoOtherTokenizersGiveForDeepSeekV3) {
  const std::string pairs = test::kConformance + "/tokenizer/deepseek_v3_pairs.json";
  DSA_SKIP_WITHOUT(pairs);
  const Tokenizer& tokenizer = test::deepseek_tokenizer();
  const auto cases = nlohmann::json::parse(read_file(pairs));
  ASSERT_EQ(cases.size(), 52U);
  for (const auto& pair : cases) {
    const auto text = pair.at("text").get<std::string>();
    const auto want = pair.at("ids").get<std::vector<int32_t>>();
    const auto ids = tokenizer.encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*ids, want) << text;
    const auto back = tokenizer.decode(want);
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ(*back, text);
  }
}

TEST(Conformance, KnowsTheSizeAndTheControlTokensOfDeepSeekV3) {
  DSA_SKIP_WITHOUT(test::kDeepSeekTokenizer);
  const Tokenizer& tokenizer = test::deepseek_tokenizer();
  EXPECT_EQ(tokenizer.vocab_size(), 128815);
  EXPECT_EQ(tokenizer.token_id("<｜end▁of▁sentence｜>"), 1);
  EXPECT_EQ(tokenizer.token_id("<｜User｜>"), 128803);
  EXPECT_EQ(tokenizer.token_text(128804), "<｜Assistant｜>");
  EXPECT_TRUE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.is_special(128803));
}

TEST(Conformance, BeginsTheHeldOutTextWithTheTokensTheModelWasCheckedOn) {
  const auto ids = test::baby_tokenizer().encode(read_file(test::kBabyModel + "/heldout.txt"));
  ASSERT_TRUE(ids.ok()) << ids.status().message();
  const std::vector<int32_t> want = read_tokens(test::kBabyModel + "/expected_fp32.safetensors");
  ASSERT_EQ(want.size(), 512U);
  ASSERT_GE(ids->size(), want.size());
  EXPECT_EQ(std::vector<int32_t>(ids->begin(), ids->begin() + 512), want);
}

TEST(Conformance, EncodesChatsAsDeepSeekV32Does) {
  const std::string path = DSA_SOURCE_DIR "/tests/data/deepseek_v32_chat_cases.json";
  const auto cases = nlohmann::ordered_json::parse(read_file(path));
  ASSERT_EQ(cases.size(), 14U);
  for (const auto& chat : cases) {
    const ChatOptions options{.thinking = chat.at("thinking_mode") == "thinking",
                              .drop_thinking = chat.at("drop_thinking").get<bool>()};
    const auto prompt = encode_chat(chat.at("messages").dump(), options);
    ASSERT_TRUE(prompt.ok()) << chat.at("name") << ": " << prompt.status().message();
    EXPECT_EQ(*prompt, chat.at("prompt").get<std::string>()) << chat.at("name");
  }
}

}  // namespace
}  // namespace dsa
