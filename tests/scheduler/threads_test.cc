// Threads that submit, cancel and look on while the scheduler runs on its own.
#include <atomic>
#include <random>
#include <thread>

#include "dsa/engine.h"

#include "tests/scheduler/serving.h"

namespace dsa::scheduler {
namespace {

TEST(SchedulerThreads, AnswersEveryRequestOfManyThreadsOnce) {
  EngineOptions engine = serving_engine(16);
  engine.max_sequences = 4;
  SchedulerOptions options;
  options.max_step_ms = 1;
  const auto scheduler = make_scheduler(engine, options);
  scheduler->start();
  std::atomic<int> n_accepted = 0;
  std::atomic<int> n_done = 0;
  std::atomic<int64_t> n_tokens = 0;
  const auto client = [&](uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<RequestId> ids;
    for (int i = 0; i < 12; ++i) {
      GenerateRequest request =
          request_for(text_tokens(64 * (random() % 3), 1 + random() % 150), 8);
      if (random() % 8 == 0) request.timeout = std::chrono::milliseconds(1);
      request.on_token = [&n_tokens](const TokenEvent&) {
        ++n_tokens;
        return true;
      };
      request.on_done = [&, again = random() % 4 == 0](const GenerateResult&) {
        ++n_done;
        if (!again) return;
        GenerateRequest next = request_for(text_tokens(0, 3), 2);  // from within a callback
        next.on_done = [&n_done](const GenerateResult&) { ++n_done; };
        if (scheduler->submit(std::move(next)).ok()) ++n_accepted;
      };
      const auto id = scheduler->submit(std::move(request));
      if (id.ok()) {
        ++n_accepted;
        ids.push_back(*id);
      }
      if (random() % 3 == 0 && !ids.empty()) scheduler->cancel(ids[random() % ids.size()]);
      if (random() % 4 == 0) std::this_thread::yield();
      EXPECT_GE(scheduler->stats().n_waiting, 0);
      EXPECT_GE(scheduler->memory().n_free_pages, 0);
    }
  };
  std::vector<std::thread> clients;
  for (uint32_t seed = 1; seed <= 4; ++seed)
    clients.emplace_back(client, seed);
  for (std::thread& thread : clients)
    thread.join();
  scheduler->shutdown(std::chrono::minutes(10));
  EXPECT_EQ(n_done, n_accepted);
  EXPECT_GE(n_accepted, 48);
  EXPECT_GT(n_tokens, 0);
  expect_no_leak(*scheduler);
}

TEST(SchedulerThreads, EndsRequestsThatRunWhenItIsDestroyed) {
  std::atomic<int> n_cancelled = 0;
  {
    const auto scheduler = make_scheduler(serving_engine());
    scheduler->start();
    for (int i = 0; i < 3; ++i) {
      GenerateRequest request = request_for(text_tokens(0, 30), 4000);
      request.on_done = [&n_cancelled](const GenerateResult& result) {
        if (result.reason == FinishReason::kCancelled) ++n_cancelled;
      };
      ASSERT_TRUE(scheduler->submit(std::move(request)).ok());
    }
  }
  EXPECT_EQ(n_cancelled, 3);
}

TEST(SchedulerThreads, ShutsDownFromSeveralThreadsAtOnce) {
  const auto scheduler = make_scheduler(serving_engine());
  scheduler->start();
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&scheduler] { scheduler->shutdown(std::chrono::milliseconds(1)); });
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_FALSE(scheduler->submit(request_for(text_tokens(0, 3), 1)).ok());
}

}  // namespace
}  // namespace dsa::scheduler
