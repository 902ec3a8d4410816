#include "server/answer_text.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/answer_json.h"
#include "server/outbox.h"
#include "server/selections.h"

namespace server {
namespace {

const dsa::Tokenizer& tokenizer() {
  static const auto result = dsa::Tokenizer::open(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
  EXPECT_TRUE(result.ok());
  return *result;
}

struct Shown {
  std::string text;
  std::vector<ShownToken> tokens;
};

Shown run(const ApiRequest& request, const std::string& text) {
  AnswerText answer(tokenizer(), request);
  Shown out;
  const auto add = [&out](const AnswerPiece& piece) {
    for (const auto& part : piece.parts)
      out.text += part.text;
    out.tokens.insert(out.tokens.end(), piece.tokens.begin(), piece.tokens.end());
  };
  const auto ids = tokenizer().encode(text);
  for (const int32_t id : *ids) {
    dsa::TokenEvent event;
    event.id = id;
    event.logprob = -1;
    add(answer.push(event));
    if (answer.stopped()) break;
  }
  add(answer.finish());
  return out;
}

TEST(AnswerText, EndsBeforeAStopStringAndShowsNoTokenOfIt) {
  ApiRequest request;
  request.n_logprobs = 0;
  request.stop = {"created", "and the e"};
  const Shown shown = run(request, "In the beginning God made the heaven and the earth. Amen");
  EXPECT_EQ(shown.text, "In the beginning God made the heaven ");
  std::string tokens;
  for (const ShownToken& token : shown.tokens)
    tokens += tokenizer().token_text(token.id);
  // The last token shown may be one whose text the stop string cuts.
  EXPECT_EQ(tokens.substr(0, shown.text.size()), shown.text);
  EXPECT_LT(tokens.size(), shown.text.size() + 8);
}

TEST(AnswerText, AllTokensAreShownWithTheirOffsetsInCharacters) {
  ApiRequest request;
  request.n_logprobs = 0;
  const std::string text = "\xC3\xA9\xF0\x9F\x98\x80 and the end";
  const Shown shown = run(request, text);
  EXPECT_EQ(shown.text, text);
  std::string tokens;
  for (const ShownToken& token : shown.tokens) {
    EXPECT_LE(token.offset, count_characters(text));
    tokens += tokenizer().token_text(token.id);
  }
  EXPECT_EQ(tokens, text);
  EXPECT_EQ(shown.tokens.back().offset + 4, count_characters(text));
}

TEST(AnswerText, AnEchoedPromptComesFirstAndCountsInOffsets) {
  ApiRequest request;
  request.n_logprobs = 1;
  AnswerText answer(tokenizer(), request);
  const auto ids = *tokenizer().encode("<a> In the \xC3\xA9");
  std::vector<int32_t> prompt = {0};  // as it is put before every text
  prompt.insert(prompt.end(), ids.begin(), ids.end());
  std::vector<dsa::PromptToken> logprobs;
  for (const int32_t id : prompt)
    logprobs.push_back({id, -2.0F, logprobs.empty() ? 0 : 1, {{id, -2.0F}}});
  const AnswerPiece echoed = answer.echo(prompt, 1, logprobs);
  ASSERT_EQ(echoed.parts.size(), 1U);
  EXPECT_EQ(echoed.parts[0].text, "<a> In the \xC3\xA9");
  ASSERT_EQ(echoed.tokens.size(), prompt.size());
  EXPECT_FALSE(echoed.tokens[0].logprob);
  EXPECT_EQ(echoed.tokens[1].logprob, -2.0F);
  EXPECT_EQ(echoed.tokens[1].offset, 0);
  dsa::TokenEvent event;
  event.id = ids[0];
  EXPECT_EQ(answer.push(event).tokens.at(0).offset, 12);
}

TEST(AnswerJson, TokensThatAreNoTextAreNamedByTheirBytes) {
  ModelInfo model;
  auto opened = dsa::Tokenizer::open(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
  ASSERT_TRUE(opened.ok());
  model.tokenizer = std::make_shared<const dsa::Tokenizer>(std::move(*opened));
  // Of an emoji that the vocabulary does not have, each byte is a token.
  const auto ids = *tokenizer().encode("\xF0\x9F\x98\x80");
  ASSERT_GT(ids.size(), 2U);
  ShownToken token{ids[0], -1.0F, 0, {{ids[0], -1.0F}, {ids[1], -2.0F}, {ids[1], -3.0F}}};
  WholeChoice choice;
  choice.tokens = {token};
  AnswerHead head;
  head.model = &model;
  const Json lists = whole_answer(head, {choice}, true, {})["choices"][0]["logprobs"];
  EXPECT_EQ(lists["tokens"][0].get<std::string>().rfind("bytes:\\xf0", 0), 0U);
  EXPECT_EQ(lists["top_logprobs"][0].size(), 3U);
  EXPECT_EQ(lists["top_logprobs"][0][lists["tokens"][0].get<std::string>()], -1.0);
  EXPECT_EQ(lists["top_logprobs"][0]["token_id:" + std::to_string(ids[1])], -3.0);
}

TEST(AnswerText, WithoutLogprobsNoTokensAreKept) {
  EXPECT_TRUE(run({}, "In the beginning").tokens.empty());
}

TEST(Outbox, AReaderThatLagsBeyondTheBoundIsToldOf) {
  Outbox outbox(10);
  EXPECT_EQ(outbox.put("123456"), Outbox::Put::kFirst);
  EXPECT_EQ(outbox.put("123456"), Outbox::Put::kQueued);
  EXPECT_EQ(outbox.put("1"), Outbox::Put::kFull);
  EXPECT_EQ(outbox.take(), "123456123456");
  EXPECT_EQ(outbox.put("1"), Outbox::Put::kFull);  // taken, but not sent
  outbox.sent(6);
  EXPECT_EQ(outbox.put("1"), Outbox::Put::kFirst);
  outbox.close();
  EXPECT_EQ(outbox.put("1"), Outbox::Put::kFull);
  EXPECT_EQ(outbox.take(), "");
}

TEST(Selections, MergedScoresAreMeansOfEachLayersPlaces) {
  TokenSelections token;
  token.position = 9;
  token.layers = {{0, {1, 4}, {2.0F, 6.0F}}, {1, {4, 5, 7}, {0.0F, 1.0F, 4.0F}}, {2, {7}, {}}};
  const Json out = selections_json(token, {1}, true);
  EXPECT_EQ(out["n_visible"], 9);
  EXPECT_EQ(out["n_read"], 3);
  ASSERT_EQ(out["layers"].size(), 1U);
  EXPECT_EQ(out["layers"][0]["deltas"], Json::array({4, 1, 2}));
  EXPECT_EQ(out["merged"]["deltas"], Json::array({1, 3, 1, 2}));
  EXPECT_EQ(out["merged"]["layers"], Json::array({1, 2, 1, 2}));
  EXPECT_EQ(out["merged"]["scores"], Json::parse("[0, 0.333, 0.0833, 0.333]"));
}

TEST(Selections, LengthsOfTokensAddUpToTheTextInUtf16) {
  const auto ids = tokenizer().encode("a \xC3\xA9 \xF0\x9F\x98\x80!");
  const Json out = text_with_lengths(tokenizer(), *ids);
  EXPECT_EQ(out["text"], "a \xC3\xA9 \xF0\x9F\x98\x80!");
  int64_t sum = 0;
  for (const auto& length : out["lengths"])
    sum += length.get<int64_t>();
  EXPECT_EQ(sum, 7);
  EXPECT_EQ(out["lengths"].size(), ids->size());
}

}  // namespace
}  // namespace server
