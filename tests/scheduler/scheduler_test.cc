#include "dsa/scheduler.h"

#include <gmock/gmock.h>

#include <deque>
#include <limits>
#include <random>

#include "dsa/engine.h"
#include "dsa/forward.h"

#include "tests/scheduler/serving.h"

namespace dsa::scheduler {
namespace {

using testing::HasSubstr;

TEST(Scheduler, GeneratesWhatAnEngineGenerates) {
  const std::vector<int32_t> prompt = text_tokens(0, 50);
  const auto scheduler = make_scheduler(serving_engine());
  const Transcript got = run_alone(scheduler.get(), request_for(prompt, 12));
  EXPECT_EQ(got.result.reason, FinishReason::kLength);
  EXPECT_EQ(got.result.n_generated_tokens, 12);
  EXPECT_EQ(got.result.n_prompt_tokens, 50);

  const auto engine = Engine::create(serving_model(), serving_engine()).value();
  const SequenceId id = *engine->create_sequence();
  std::vector<int32_t> ids;
  ForwardHooks hooks;
  hooks.logits = [&ids](const LogitsRow& row) {
    const auto best = std::max_element(row.logits.begin(), row.logits.end());
    ids.push_back(static_cast<int32_t>(best - row.logits.begin()));
  };
  ASSERT_TRUE(engine->prefill(id, prompt, hooks).ok());
  while (ids.size() < 12)
    ASSERT_TRUE(engine->decode(id, ids.back(), hooks).ok());
  EXPECT_EQ(got.ids, ids);
}

TEST(Scheduler, EndsAtAStopTokenAWishAndTheLargestContext) {
  const auto scheduler = make_scheduler(serving_engine(2));
  EXPECT_EQ(scheduler->max_context(), 128);
  GenerateRequest request = request_for(text_tokens(0, 50), 1000);
  const Transcript all = run_alone(scheduler.get(), request);
  EXPECT_EQ(all.result.reason, FinishReason::kLength);
  EXPECT_EQ(all.result.n_generated_tokens, 78);

  request.stop_tokens = {all.ids[9]};
  const auto first = std::find(all.ids.begin(), all.ids.end(), all.ids[9]) - all.ids.begin();
  const Transcript stopped = run_alone(scheduler.get(), request);
  EXPECT_EQ(stopped.result.reason, FinishReason::kStop);
  EXPECT_EQ(stopped.result.stop_token, all.ids[9]);
  EXPECT_EQ(stopped.ids, std::vector<int32_t>(all.ids.begin(), all.ids.begin() + first));

  request.stop_tokens.clear();
  Transcript wished;
  request = wished.record(request);
  request.on_token = [&wished, record = request.on_token](const TokenEvent& token) {
    record(token);
    return wished.ids.size() < 5;
  };
  ASSERT_TRUE(scheduler->submit(request).ok());
  step_until_idle(scheduler.get());
  EXPECT_EQ(wished.result.reason, FinishReason::kStop);
  EXPECT_EQ(wished.ids.size(), 5U);
  expect_no_leak(*scheduler);
}

TEST(Scheduler, RefusesWhatCannotBeByName) {
  const auto scheduler = make_scheduler(serving_engine(4));
  const auto message = [&scheduler](const std::function<void(GenerateRequest*)>& change) {
    GenerateRequest request = request_for(text_tokens(0, 5), 5);
    request.on_done = [](const GenerateResult&) { ADD_FAILURE() << "called back"; };
    change(&request);
    return scheduler->submit(request).status().message();
  };
  EXPECT_THAT(message([](auto* r) { r->prompt.clear(); }), HasSubstr("prompt: no tokens"));
  EXPECT_THAT(message([](auto* r) { r->prompt.resize(256); }),
              HasSubstr("prompt: 256 tokens, want at most 255"));
  EXPECT_THAT(message([](auto* r) { r->prompt[2] = 2048; }),
              HasSubstr("prompt: token 2 is 2048, want 0 to 2047"));
  EXPECT_THAT(message([](auto* r) { r->stop_tokens = {-1}; }), HasSubstr("stop_tokens: token 0"));
  EXPECT_THAT(message([](auto* r) { r->max_tokens = -1; }), HasSubstr("max_tokens: -1"));
  EXPECT_THAT(message([](auto* r) { r->n_prompt_logprobs = 21; }),
              HasSubstr("n_prompt_logprobs: 21"));
  EXPECT_THAT(message([](auto* r) { r->n_logprobs = 21; }), HasSubstr("n_logprobs: 21"));
  EXPECT_THAT(message([](auto* r) { r->selections = {-2}; }), HasSubstr("selections: -2"));
  EXPECT_THAT(message([](auto* r) { r->timeout = std::chrono::milliseconds(-5); }),
              HasSubstr("timeout: -5 ms"));
  EXPECT_THAT(message([](auto* r) { r->sampler.top_p = 2; }), HasSubstr("top_p: 2"));
  EXPECT_THAT(message([](auto* r) {
                r->sampler.logit_bias = {{2048, 1.0F}};
              }),
              HasSubstr("logit_bias: token 2048"));
  EXPECT_EQ(scheduler->stats().refused_total, 11);
  EXPECT_FALSE(scheduler->step());

  const auto refused = [](const SchedulerOptions& options) {
    return Scheduler::create(serving_model(), serving_engine(), options).status().message();
  };
  EXPECT_THAT(refused({.max_waiting = 0}), HasSubstr("max_waiting: 0"));
  EXPECT_THAT(refused({.max_step_ms = std::nan("")}), HasSubstr("max_step_ms: nan"));
}

TEST(Scheduler, RefusesRequestsBeyondTheQueueAndStartsTheOthersInOrder) {
  EngineOptions engine = serving_engine();
  engine.max_sequences = 2;
  SchedulerOptions options;
  options.max_waiting = 4;
  const auto scheduler = make_scheduler(engine, options);
  std::vector<RequestId> started;
  for (int i = 0; i < 6; ++i) {
    GenerateRequest request = request_for(text_tokens(0, 5), 3);
    request.on_token = [&started](const TokenEvent& token) {
      if (token.index == 0) started.push_back(token.request);
      return true;
    };
    const auto id = scheduler->submit(request);
    EXPECT_EQ(id.ok(), i < 4);
    if (!id.ok()) {
      EXPECT_EQ(id.status().code(), StatusCode::kResourceExhausted);
      EXPECT_THAT(id.status().message(), HasSubstr("queue: 4 requests wait, want at most 4"));
    }
  }
  EXPECT_EQ(scheduler->stats().n_waiting, 4);
  scheduler->step();
  EXPECT_EQ(scheduler->stats().n_waiting, 2);
  EXPECT_TRUE(scheduler->submit(request_for(text_tokens(0, 5), 3)).ok());
  step_until_idle(scheduler.get());
  EXPECT_EQ(started, (std::vector<RequestId>{1, 2, 3, 4}));
}

TEST(Scheduler, AppliesAFilterAndTellsItWhatWasChosen) {
  const auto scheduler = make_scheduler(serving_engine());
  std::vector<int32_t> accepted;
  GenerateRequest request = request_for(text_tokens(0, 40), 6);
  request.logits_filter.filter = [](std::span<float> logits) {
    for (size_t i = 0; i < logits.size(); ++i) {
      if (i % 100 != 7) logits[i] = -std::numeric_limits<float>::infinity();
    }
  };
  request.logits_filter.accept = [&accepted](int32_t token) { accepted.push_back(token); };
  const Transcript got = run_alone(scheduler.get(), request);
  EXPECT_EQ(got.ids.size(), 6U);
  EXPECT_EQ(accepted, got.ids);
  for (const int32_t id : got.ids)
    EXPECT_EQ(id % 100, 7);
  // Log-probabilities are the model's own: the best tokens are others than the chosen one.
  EXPECT_LT(got.logprobs[0], got.logprobs[1]);

  request.logits_filter.filter = [](std::span<float> logits) {
    std::fill(logits.begin(), logits.end(), -std::numeric_limits<float>::infinity());
  };
  const Transcript nothing = run_alone(scheduler.get(), request);
  EXPECT_EQ(nothing.result.reason, FinishReason::kError);
  EXPECT_THAT(nothing.result.error.message(), HasSubstr("logits:"));
  expect_no_leak(*scheduler);
}

TEST(Scheduler, ReportsTheSelectionsOfTheTokensAskedFor) {
  const auto scheduler = make_scheduler(serving_engine());
  GenerateRequest request = request_for(text_tokens(0, 100), 4);
  const Transcript without = run_alone(scheduler.get(), request);
  request.selections = {0, 2};
  const Transcript some = run_alone(scheduler.get(), request);
  EXPECT_EQ(some.ids, without.ids);
  ASSERT_EQ(some.selections.size(), 4U);
  const auto n_layers = static_cast<size_t>(serving_model()->config().n_layers);
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(some.selections[i].size(), i % 2 == 0 ? n_layers : 0U);
    for (const LayerSelection& layer : some.selections[i]) {
      EXPECT_EQ(layer.positions.size(), 64U);  // the model's budget
      EXPECT_EQ(layer.scores.size(), layer.positions.size());
      EXPECT_LT(layer.positions.back(), 100 + static_cast<int32_t>(i));
    }
  }

  const auto engine = Engine::create(serving_model(), serving_engine()).value();
  const SequenceId id = *engine->create_sequence();
  std::vector<std::vector<int32_t>> wanted;
  ForwardHooks hooks;
  hooks.selection = [&wanted](const SelectionRow& selection) {
    if (selection.position != 99) return;
    wanted.emplace_back(selection.positions.begin(), selection.positions.end());
  };
  const Step steps[] = {{id, std::span(request.prompt).first(64), RowsWanted::kNone},
                        {id, std::span(request.prompt).subspan(64), RowsWanted::kNone}};
  ASSERT_TRUE(engine->forward(steps, hooks).ok());
  for (size_t layer = 0; layer < n_layers; ++layer)
    EXPECT_EQ(some.selections[0][layer].positions, wanted[layer]);
  request.selections = {-1};
  for (const auto& layers : run_alone(scheduler.get(), request).selections)
    EXPECT_EQ(layers.size(), n_layers);
}

TEST(Scheduler, LeaksNoPageWhenRequestsAreCancelledOrLateAtAnyStep) {
  double now = 0;
  SchedulerOptions options;
  options.clock = [&now] { return now; };
  const auto scheduler = make_scheduler(serving_engine(14), options);
  std::mt19937 generator(7);
  const auto random = [&generator] { return static_cast<uint32_t>(generator()); };
  std::deque<Transcript> got;
  std::vector<RequestId> ids;
  for (int i = 0; i < 400; ++i) {
    if (random() % 3 == 0) {
      GenerateRequest request =
          request_for(text_tokens(random() % 4 * 64, 1 + random() % 300), 1 + random() % 100);
      if (random() % 3 == 0) request.timeout = std::chrono::milliseconds(random() % 2000);
      got.emplace_back();
      ids.push_back(*scheduler->submit(got.back().record(request)));
    }
    if (random() % 5 == 0 && !ids.empty()) scheduler->cancel(ids[random() % ids.size()]);
    now += 0.01;
    scheduler->step();
    const SchedulerStats stats = scheduler->stats();
    ASSERT_LE(stats.n_free_pages + stats.n_evictable_pages, stats.n_pages);
  }
  step_until_idle(scheduler.get());
  std::vector<int> reasons(5);
  for (const Transcript& transcript : got) {
    EXPECT_EQ(transcript.n_done, 1);
    ++reasons[static_cast<size_t>(transcript.result.reason)];
  }
  EXPECT_GT(reasons[static_cast<size_t>(FinishReason::kCancelled)], 5);
  EXPECT_GT(reasons[static_cast<size_t>(FinishReason::kDeadline)], 5);
  EXPECT_GT(reasons[static_cast<size_t>(FinishReason::kLength)], 5);
  EXPECT_EQ(reasons[static_cast<size_t>(FinishReason::kError)], 0);
  expect_no_leak(*scheduler);
}

TEST(Scheduler, CountsWhatItDid) {
  const auto scheduler = make_scheduler(serving_engine());
  const GenerateRequest request = request_for(text_tokens(0, 130), 5);
  run_alone(scheduler.get(), request);
  run_alone(scheduler.get(), request);
  const SchedulerStats stats = scheduler->stats();
  EXPECT_EQ(stats.submitted_total, 2);
  EXPECT_EQ(stats.finished_total[static_cast<size_t>(FinishReason::kLength)], 2);
  EXPECT_EQ(stats.prefilled_tokens_total, 130 + 2);
  EXPECT_EQ(stats.decoded_tokens_total, 10);
  EXPECT_EQ(stats.cache_hit_tokens_total, 128);
  EXPECT_EQ(stats.cache_miss_tokens_total, 132);
  EXPECT_EQ(stats.n_pages, 64);
  EXPECT_EQ(stats.n_cached_pages, 2);
  int64_t steps = 0;
  for (const int64_t count : stats.steps.counts)
    steps += count;
  EXPECT_EQ(steps, 10);
}

TEST(Shutdown, EndsWhatDoesNotFinishInTimeAndRefusesMore) {
  const auto scheduler = make_scheduler(serving_engine());
  Transcript running;
  Transcript waiting;
  ASSERT_TRUE(scheduler->submit(running.record(request_for(text_tokens(0, 10), 1000))).ok());
  scheduler->step();
  ASSERT_TRUE(scheduler->submit(waiting.record(request_for(text_tokens(0, 10), 1000))).ok());
  EXPECT_FALSE(scheduler->shutdown(std::chrono::milliseconds(0)));
  EXPECT_EQ(running.result.reason, FinishReason::kCancelled);
  EXPECT_EQ(waiting.result.reason, FinishReason::kCancelled);
  EXPECT_EQ(waiting.n_done, 1);
  const auto refused = scheduler->submit(request_for(text_tokens(0, 10), 1));
  EXPECT_EQ(refused.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(refused.status().message(), HasSubstr("shutting down"));
  expect_no_leak(*scheduler);
}

TEST(Shutdown, LetsRequestsFinishThatCan) {
  const auto scheduler = make_scheduler(serving_engine());
  scheduler->start();
  Transcript transcript;
  ASSERT_TRUE(scheduler->submit(transcript.record(request_for(text_tokens(0, 10), 20))).ok());
  EXPECT_TRUE(scheduler->shutdown(std::chrono::hours(1)));
  EXPECT_EQ(transcript.result.reason, FinishReason::kLength);
  EXPECT_EQ(transcript.ids.size(), 20U);
}

}  // namespace
}  // namespace dsa::scheduler
