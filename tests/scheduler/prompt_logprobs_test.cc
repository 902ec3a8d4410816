// What a request can learn of its prompt's tokens.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/scheduler/serving.h"

namespace dsa::scheduler {
namespace {

struct PromptTranscript {
  Transcript rest;
  std::vector<PromptToken> tokens;
  int n_given = 0;

  GenerateRequest record(std::vector<int32_t> prompt, int64_t max_tokens, int32_t n_logprobs) {
    GenerateRequest request = request_for(std::move(prompt), max_tokens);
    request.n_prompt_logprobs = n_logprobs;
    request = rest.record(std::move(request));
    request.on_prompt = [this](std::span<const PromptToken> all) {
      EXPECT_TRUE(rest.ids.empty());
      ++n_given;
      tokens.assign(all.begin(), all.end());
    };
    return request;
  }
};

PromptTranscript read_alone(Scheduler* scheduler,
                            const std::vector<int32_t>& prompt,
                            int64_t max_tokens,
                            int32_t n_logprobs) {
  PromptTranscript out;
  EXPECT_TRUE(scheduler->submit(out.record(prompt, max_tokens, n_logprobs)).ok());
  step_until_idle(scheduler);
  EXPECT_EQ(out.rest.n_done, 1);
  EXPECT_EQ(out.n_given, 1);
  return out;
}

TEST(PromptLogprobs, AreThoseOfTheSameTokensWhenTheyWereGenerated) {
  EngineOptions exact = serving_engine();  // in fp8, prefilled and decoded tokens round apart
  exact.kv_cache = exact.index_cache = CacheFormat::kF32;
  const auto scheduler = make_scheduler(exact);
  const std::vector<int32_t> start = text_tokens(0, 50);
  const Transcript generated = run_alone(scheduler.get(), request_for(start, 100));
  std::vector<int32_t> prompt = start;
  prompt.insert(prompt.end(), generated.ids.begin(), generated.ids.end());
  const PromptTranscript read = read_alone(scheduler.get(), prompt, 0, 3);
  ASSERT_EQ(read.tokens.size(), prompt.size());
  EXPECT_EQ(read.tokens[0].rank, 0);
  for (size_t i = 0; i < prompt.size(); ++i) {
    EXPECT_EQ(read.tokens[i].id, prompt[i]);
    EXPECT_EQ(read.tokens[i].top.size(), i > 0 ? 3U : 0U);
  }
  for (size_t i = 0; i < generated.ids.size(); ++i) {
    const PromptToken& token = read.tokens[start.size() + i];
    EXPECT_NEAR(token.logprob, generated.logprobs[4 * i], 2e-3) << i;
    EXPECT_NEAR(token.top[1].logprob, generated.logprobs[4 * i + 2], 2e-3) << i;
  }
  expect_no_leak(*scheduler);
}

TEST(PromptLogprobs, RankCountsTheLikelierTokens) {
  const auto scheduler = make_scheduler(serving_engine());
  const PromptTranscript read = read_alone(scheduler.get(), text_tokens(0, 130), 0, 20);
  int n_listed = 0;
  for (size_t i = 1; i < read.tokens.size(); ++i) {
    const PromptToken& token = read.tokens[i];
    if (token.rank > 20) continue;
    EXPECT_EQ(token.top[static_cast<size_t>(token.rank) - 1].logprob, token.logprob);
    ++n_listed;
  }
  EXPECT_GT(n_listed, 20);
}

TEST(PromptLogprobs, NeitherACacheNorOtherRequestsChangeThem) {
  const std::vector<int32_t> prompt = text_tokens(3, 200);
  const PromptTranscript want = read_alone(make_scheduler(serving_engine()).get(), prompt, 5, 2);
  // A pool of seven pages for two requests of four each: one is preempted.
  const auto scheduler = make_scheduler(serving_engine(7));
  run_alone(scheduler.get(), request_for(prompt, 1));
  Transcript other;
  PromptTranscript got;
  ASSERT_TRUE(scheduler->submit(other.record(request_for(text_tokens(9, 180), 70))).ok());
  ASSERT_TRUE(scheduler->submit(got.record(prompt, 5, 2)).ok());
  step_until_idle(scheduler.get());
  EXPECT_EQ(got.n_given, 1);
  expect_same(got.rest, want.rest);
  EXPECT_EQ(got.rest.result.prompt_cache_hit_tokens, 0);
  ASSERT_EQ(got.tokens.size(), prompt.size());
  for (size_t i = 0; i < prompt.size(); ++i) {
    EXPECT_EQ(got.tokens[i].logprob, want.tokens[i].logprob);
    EXPECT_EQ(got.tokens[i].rank, want.tokens[i].rank);
  }
  expect_no_leak(*scheduler);
}

TEST(PromptLogprobs, WithoutThemThePromptsEndIsToldAllTheSame) {
  const auto scheduler = make_scheduler(serving_engine());
  const PromptTranscript read = read_alone(scheduler.get(), text_tokens(0, 70), 0, -1);
  EXPECT_TRUE(read.tokens.empty());
  EXPECT_TRUE(read.rest.ids.empty());
  EXPECT_EQ(read.rest.result.reason, FinishReason::kLength);
  EXPECT_EQ(read_alone(scheduler.get(), {5}, 0, 1).tokens.size(), 1U);
}

}  // namespace
}  // namespace dsa::scheduler
