// Chunks that take longer than streams are to wait: tokens are given out between their parts.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "tests/io/temp_dir.h"
#include "tests/scheduler/serving.h"

namespace dsa::scheduler {
namespace {

// Every look at the clock takes a second, and streams are to wait for half of one.
SchedulerOptions slow_machine() {
  SchedulerOptions options;
  options.max_step_ms = 500;
  options.clock = [seconds = 0.0]() mutable { return ++seconds; };
  return options;
}

GenerateRequest stream() {
  return request_for(text_tokens(0, 40), 60);
}
GenerateRequest reader() {
  return request_for(text_tokens(300, 200), 6);
}

Transcript alone(const GenerateRequest& request) {
  return run_alone(make_scheduler(serving_engine()).get(), request);
}

TEST(ChunkParts, GiveStreamsTokensWhileAPromptIsReadAndEveryoneTheSameBits) {
  const auto scheduler = make_scheduler(serving_engine(), slow_machine());
  Transcript streaming, reading;
  ASSERT_TRUE(scheduler->submit(streaming.record(stream())).ok());
  for (int i = 0; i < 4; ++i)
    scheduler->step();
  ASSERT_TRUE(scheduler->submit(reading.record(reader())).ok());
  size_t most_in_a_step = 0;
  for (size_t before = streaming.ids.size(); scheduler->step(); before = streaming.ids.size())
    most_in_a_step = std::max(most_in_a_step, streaming.ids.size() - before);
  const auto n_layers = static_cast<size_t>(serving_model()->config().n_layers);
  EXPECT_EQ(most_in_a_step, 1 + 2 * n_layers);
  expect_same(streaming, alone(stream()));
  expect_same(reading, alone(reader()));
  expect_no_leak(*scheduler);
}

TEST(ChunkParts, ReadNoMoreFromDiskBeforeTheNextTokensThanThereIsTimeFor) {
  const TempDir dir;
  SchedulerOptions options = slow_machine();
  options.disk.dir = dir.path();
  Transcript first;
  first = run_alone(make_scheduler(serving_engine(), options).get(), reader());
  const auto scheduler = make_scheduler(serving_engine(), options);
  Transcript streaming, reading;
  ASSERT_TRUE(scheduler->submit(streaming.record(stream())).ok());
  for (int i = 0; i < 4; ++i)
    scheduler->step();
  ASSERT_TRUE(scheduler->submit(reading.record(reader())).ok());
  int64_t hits = scheduler->stats().cache_hit_tokens_total;
  while (scheduler->step()) {
    const int64_t now = scheduler->stats().cache_hit_tokens_total;
    EXPECT_LE(now - std::exchange(hits, now), kDefaultPageTokens);
  }
  EXPECT_EQ(reading.result.prompt_cache_hit_tokens, 3 * kDefaultPageTokens);
  expect_same(reading, first);
  expect_same(streaming, alone(stream()));
}

TEST(ChunkParts, LetStreamsEndBetweenThem) {
  const auto scheduler = make_scheduler(serving_engine(), slow_machine());
  GenerateRequest short_one = stream();
  short_one.max_tokens = 9;
  Transcript streaming, stopped, reading;
  ASSERT_TRUE(scheduler->submit(streaming.record(short_one)).ok());
  GenerateRequest until_told = stopped.record(stream());
  until_told.on_token = [&, record = until_told.on_token](const TokenEvent& token) {
    return record(token) && token.index < 7;
  };
  ASSERT_TRUE(scheduler->submit(std::move(until_told)).ok());
  for (int i = 0; i < 4; ++i)
    scheduler->step();
  ASSERT_TRUE(scheduler->submit(reading.record(reader())).ok());
  step_until_idle(scheduler.get());
  expect_same(streaming, alone(short_one));
  EXPECT_EQ(stopped.ids.size(), 8U);
  EXPECT_EQ(stopped.result.reason, FinishReason::kStop);
  expect_same(reading, alone(reader()));
  expect_no_leak(*scheduler);
}

TEST(ChunkParts, LeaveEveryTokenAsItWasInAPoolTooSmallForAll) {
  const auto scheduler = make_scheduler(serving_engine(6), slow_machine());
  std::vector<Transcript> all(4);
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < all.size(); ++i) {
    requests.push_back(request_for(text_tokens(100 * i, 60 + 40 * i), 80));
    ASSERT_TRUE(scheduler->submit(all[i].record(requests[i])).ok());
    for (size_t step = 0; step < 3; ++step)
      scheduler->step();
  }
  step_until_idle(scheduler.get());
  EXPECT_GT(scheduler->stats().preemptions_total, 0);
  for (size_t i = 0; i < all.size(); ++i)
    expect_same(all[i], alone(requests[i]));
  expect_no_leak(*scheduler);
}

}  // namespace
}  // namespace dsa::scheduler
