#include "dsa/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "runtime/cpu.h"

namespace dsa {
namespace {

class Pool : public testing::TestWithParam<int> {};

TEST_P(Pool, RunsEveryItemOnceAndShowsItsWrites) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.n_threads(), GetParam());
  for (const int64_t n : {0, 1, 2, 3, 7, 100, 1000}) {
    std::vector<int> runs(static_cast<size_t>(n), 0);  // written without synchronisation
    pool.parallel_for(n, [&runs](int64_t item, int) { ++runs[static_cast<size_t>(item)]; });
    EXPECT_EQ(std::count(runs.begin(), runs.end(), 1), n);
  }
}

TEST_P(Pool, GivesEachThreadItsOwnWorkerNumber) {
  ThreadPool pool(GetParam());
  std::vector<int> busy(static_cast<size_t>(GetParam()), 0);
  std::atomic<bool> collision{false};
  pool.parallel_for(2000, [&](int64_t, int worker) {
    int& mine = busy[static_cast<size_t>(worker)];
    if (++mine != 1) collision = true;
    --mine;
  });
  EXPECT_FALSE(collision);
}

TEST_P(Pool, SurvivesManyShortJobsInARow) {
  ThreadPool pool(GetParam());
  std::atomic<int64_t> sum{0};
  for (int round = 0; round < 2000; ++round) {
    pool.parallel_for(3, [&sum](int64_t item, int) { sum += item; });
  }
  EXPECT_EQ(sum, 2000 * 3);
}

INSTANTIATE_TEST_SUITE_P(Threads, Pool, testing::Values(1, 2, 5));

TEST(DefaultPool, HasAsManyThreadsAsCanRunAtTheSameTime) {
  EXPECT_EQ(ThreadPool(0).n_threads(), default_threads());
  EXPECT_EQ(ThreadPool(-3).n_threads(), default_threads());
}

}  // namespace
}  // namespace dsa
