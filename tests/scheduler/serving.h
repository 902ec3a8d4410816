// Requests to a scheduler over the model of the repository, and what they got.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dsa/engine.h"
#include "dsa/safetensors.h"
#include "dsa/scheduler.h"

#include "tests/engine/replay.h"

namespace dsa::scheduler {

inline std::shared_ptr<const Model> serving_model() {
  static const std::shared_ptr<const Model> model =
      open_model(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
  return model;
}

// n tokens of a text from `first` on; the text is repeated where it ends.
inline std::vector<int32_t> text_tokens(size_t first, size_t n) {
  static const std::vector<int32_t> all =
      read_expected(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32/expected_fp32.safetensors", 0)
          .tokens;
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < n; ++i)
    tokens.push_back(all[(first + i) % all.size()]);
  return tokens;
}

inline EngineOptions serving_engine(int64_t n_pages = 64) {
  EngineOptions options;
  options.cache_tokens = n_pages * kDefaultPageTokens;
  options.max_sequences = 8;
  options.max_batch_tokens = 256;
  options.n_threads = 1;  // several tests run at a time, and threads that wait spin
  return options;
}

inline std::unique_ptr<Scheduler> make_scheduler(const EngineOptions& engine,
                                                 const SchedulerOptions& options = {}) {
  auto scheduler = Scheduler::create(serving_model(), engine, options);
  EXPECT_TRUE(scheduler.ok()) << scheduler.status().message();
  return scheduler.ok() ? std::move(scheduler).value() : nullptr;
}

// What a request got. Must stay where it is until the request is done.
struct Transcript {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;  // of each token: its own, then the best
  std::vector<std::vector<LayerSelection>> selections;
  GenerateResult result;
  int n_done = 0;

  // Records what the callbacks say.
  GenerateRequest record(GenerateRequest request) {
    request.on_token = [this](const TokenEvent& token) {
      EXPECT_EQ(token.index, static_cast<int64_t>(ids.size()));
      ids.push_back(token.id);
      logprobs.push_back(token.logprob);
      for (const TokenLogprob& one : token.top_logprobs)
        logprobs.push_back(one.logprob);
      selections.emplace_back(token.selections.begin(), token.selections.end());
      return true;
    };
    request.on_done = [this](const GenerateResult& done) {
      result = done;
      ++n_done;
    };
    return request;
  }
};

// The same bits.
inline void expect_same(const Transcript& got, const Transcript& want) {
  EXPECT_EQ(got.n_done, 1);
  EXPECT_EQ(got.result.reason, want.result.reason) << got.result.error.message();
  EXPECT_EQ(got.ids, want.ids);
  EXPECT_EQ(got.logprobs, want.logprobs);
}

inline GenerateRequest request_for(std::vector<int32_t> prompt, int64_t max_tokens) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.n_logprobs = 3;
  return request;
}

inline void step_until_idle(Scheduler* scheduler) {
  int steps = 0;
  while (scheduler->step())
    ASSERT_LT(++steps, 100'000);
}

inline Transcript run_alone(Scheduler* scheduler, const GenerateRequest& request) {
  Transcript transcript;
  const auto id = scheduler->submit(transcript.record(request));
  EXPECT_TRUE(id.ok()) << id.status().message();
  step_until_idle(scheduler);
  return transcript;
}

inline void expect_no_leak(const Scheduler& scheduler) {
  const SchedulerStats stats = scheduler.stats();
  EXPECT_EQ(stats.n_running, 0);
  EXPECT_EQ(stats.n_waiting, 0);
  EXPECT_EQ(stats.n_free_pages + stats.n_evictable_pages, stats.n_pages);
  EXPECT_EQ(stats.n_cached_pages, stats.n_evictable_pages);
}

}  // namespace dsa::scheduler
