// What a request computes does not depend on what else runs, when, or on what was read before.
#include <algorithm>
#include <deque>
#include <numeric>
#include <random>

#include "dsa/engine.h"

#include "tests/scheduler/serving.h"

namespace dsa::scheduler {
namespace {

// Prompts around the ends of chunks, some that share a beginning, greedy and drawn.
std::vector<GenerateRequest> mixed_requests(size_t n) {
  const size_t lengths[] = {1, 63, 64, 65, 127, 128, 129, 200, 30, 257, 5, 96};
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < n; ++i) {
    const size_t first = i % 3 == 0 ? 0 : 7 * i;
    GenerateRequest request =
        request_for(text_tokens(first, lengths[i % 12]), 6 + 5 * static_cast<int64_t>(i % 4));
    if (i % 2 == 1) {
      request.sampler.temperature = 1.0F;
      request.sampler.top_p = 0.9F;
      request.sampler.frequency_penalty = 0.5F;
      request.sampler.seed = i;
    }
    requests.push_back(request);
  }
  return requests;
}

// Each by itself, with nothing cached.
const std::deque<Transcript>& mixed_alone() {
  static const std::deque<Transcript> transcripts = [] {
    SchedulerOptions options;
    options.prefix_cache = false;
    const auto scheduler = make_scheduler(serving_engine(), options);
    std::deque<Transcript> result;
    for (const GenerateRequest& request : mixed_requests(64))
      result.push_back(run_alone(scheduler.get(), request));
    return result;
  }();
  return transcripts;
}

struct Load {
  const char* name;
  uint32_t order;  // seed of the order of arrival
  double max_step_ms;
  int64_t max_batch_tokens;
  int64_t max_sequences;
  int64_t n_pages;
  int n_threads;
};

void PrintTo(const Load& load, std::ostream* out) {
  *out << load.name;
}

class Independence : public testing::TestWithParam<Load> {};

INSTANTIATE_TEST_SUITE_P(Loads,
                         Independence,
                         testing::Values(Load{"All", 1, 200, 512, 64, 256, 2},
                                         Load{"Slowly", 2, 0.001, 128, 64, 256, 1},
                                         Load{"FewAtATime", 3, 50, 1000, 5, 64, 1},
                                         Load{"FewPages", 4, 1, 300, 16, 12, 1}),
                         [](const auto& load) { return load.param.name; });

TEST_P(Independence, GivesARequestAmong63OthersTheBitsItGetsAlone) {
  const Load& load = GetParam();
  EngineOptions engine = serving_engine(load.n_pages);
  engine.max_batch_tokens = load.max_batch_tokens;
  engine.max_sequences = load.max_sequences;
  engine.n_threads = load.n_threads;
  SchedulerOptions options;
  options.max_step_ms = load.max_step_ms;
  const auto scheduler = make_scheduler(engine, options);
  std::vector<GenerateRequest> requests = mixed_requests(64);
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::mt19937 random(load.order);
  std::shuffle(order.begin(), order.end(), random);
  std::deque<Transcript> got(requests.size());
  for (const size_t i : order) {
    ASSERT_TRUE(scheduler->submit(got[i].record(requests[i])).ok());
    for (auto steps = random() % 3; steps > 0; --steps)
      scheduler->step();  // arrivals between steps
  }
  step_until_idle(scheduler.get());
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    expect_same(got[i], mixed_alone()[i]);
  }
  expect_no_leak(*scheduler);
}

TEST(PrefixCaching, GivesAHitTheBitsOfAMissAndCountsIt) {
  for (const CacheFormat format : {CacheFormat::kFp8, CacheFormat::kBF16, CacheFormat::kF32}) {
    EngineOptions engine = serving_engine();
    engine.kv_cache = format;
    engine.index_cache = format;
    const auto scheduler = make_scheduler(engine);
    for (const size_t n : {64U, 65U, 128U, 300U}) {
      SCOPED_TRACE(std::string(cache_format_name(format)) + " " + std::to_string(n));
      const auto n_tokens = static_cast<int64_t>(n);
      const GenerateRequest request = request_for(text_tokens(1000 + n, n), 20);
      const Transcript miss = run_alone(scheduler.get(), request);
      EXPECT_EQ(miss.result.prompt_cache_hit_tokens, 0);
      EXPECT_EQ(miss.result.prompt_cache_miss_tokens, n_tokens);
      const Transcript hit = run_alone(scheduler.get(), request);
      EXPECT_EQ(hit.result.prompt_cache_hit_tokens, (n_tokens - 1) / 64 * 64);
      EXPECT_EQ(hit.result.prompt_cache_hit_tokens + hit.result.prompt_cache_miss_tokens, n_tokens);
      expect_same(hit, miss);

      GenerateRequest without = request;
      without.use_prefix_cache = false;
      const Transcript anew = run_alone(scheduler.get(), without);
      EXPECT_EQ(anew.result.prompt_cache_hit_tokens, 0);
      expect_same(anew, miss);
    }
  }
}

TEST(PrefixCaching, SharesPagesOfTheEnginesSize) {
  for (const int64_t page_tokens : {16, 128}) {
    EngineOptions engine = serving_engine();
    engine.page_tokens = page_tokens;
    const auto scheduler = make_scheduler(engine);
    for (const size_t n : {65U, 128U, 300U}) {
      SCOPED_TRACE(std::to_string(page_tokens) + " " + std::to_string(n));
      const GenerateRequest request = request_for(text_tokens(1000 + n, n), 20);
      const Transcript miss = run_alone(scheduler.get(), request);
      const Transcript hit = run_alone(scheduler.get(), request);
      EXPECT_EQ(hit.result.prompt_cache_hit_tokens,
                (static_cast<int64_t>(n) - 1) / page_tokens * page_tokens);
      expect_same(hit, miss);
    }
    expect_no_leak(*scheduler);
  }
}

TEST(PrefixCaching, ReadsAPromptOnceForRequestsThatComeTogether) {
  const auto scheduler = make_scheduler(serving_engine());
  const GenerateRequest request = request_for(text_tokens(0, 300), 4);
  std::deque<Transcript> got(5);
  for (Transcript& transcript : got)
    ASSERT_TRUE(scheduler->submit(transcript.record(request)).ok());
  step_until_idle(scheduler.get());
  int64_t missed = 0;
  for (const Transcript& transcript : got) {
    expect_same(transcript, got.front());
    missed += transcript.result.prompt_cache_miss_tokens;
  }
  EXPECT_EQ(missed, 4 * 64 + 5 * 44);  // whole pages once, the rest by each
  expect_no_leak(*scheduler);
}

TEST(PrefixCaching, ReadsAnAnswerAgainInAFollowingQuestionAsIfItHadNeverGeneratedIt) {
  const auto scheduler = make_scheduler(serving_engine());
  const Transcript first = run_alone(scheduler.get(), request_for(text_tokens(0, 100), 60));
  std::vector<int32_t> conversation = text_tokens(0, 100);
  conversation.insert(conversation.end(), first.ids.begin(), first.ids.end());
  const std::vector<int32_t> question = text_tokens(500, 20);
  conversation.insert(conversation.end(), question.begin(), question.end());
  const Transcript second = run_alone(scheduler.get(), request_for(conversation, 10));
  EXPECT_EQ(second.result.prompt_cache_hit_tokens, 64);
  const auto fresh = make_scheduler(serving_engine());
  expect_same(second, run_alone(fresh.get(), request_for(conversation, 10)));
}

TEST(Preemption, LeavesEveryTokenAsItWasInAPoolOf10Pages) {
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < 8; ++i)
    requests.push_back(
        request_for(text_tokens(100 * i, 20 + 37 * i), 150 + 10 * static_cast<int64_t>(i)));
  SchedulerOptions uncached;
  uncached.prefix_cache = false;
  const auto roomy = make_scheduler(serving_engine(64), uncached);
  for (const bool cache : {true, false}) {
    SchedulerOptions options;
    options.prefix_cache = cache;
    const auto scheduler = make_scheduler(serving_engine(10), options);
    std::deque<Transcript> got(requests.size());
    for (size_t i = 0; i < requests.size(); ++i)
      ASSERT_TRUE(scheduler->submit(got[i].record(requests[i])).ok());
    step_until_idle(scheduler.get());
    EXPECT_GT(scheduler->stats().preemptions_total, 2);
    int64_t preemptions = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      SCOPED_TRACE(i);
      expect_same(got[i], run_alone(roomy.get(), requests[i]));
      preemptions += got[i].result.n_preemptions;
      EXPECT_EQ(got[i].result.prompt_cache_hit_tokens + got[i].result.prompt_cache_miss_tokens,
                static_cast<int64_t>(requests[i].prompt.size()));
    }
    EXPECT_EQ(preemptions, scheduler->stats().preemptions_total);
    expect_no_leak(*scheduler);
  }
}

}  // namespace
}  // namespace dsa::scheduler
