#include "runtime/cpu.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>

#include "dsa/thread_pool.h"

namespace dsa {
namespace {

// Gives the process its affinity mask back.
class Affinity : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(sched_getaffinity(0, sizeof all_, &all_), 0); }
  void TearDown() override { ASSERT_EQ(sched_setaffinity(0, sizeof all_, &all_), 0); }

  void run_on_one_cpu() {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &all_)) CPU_SET(cpu, &one);
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  }

  cpu_set_t all_;
};

TEST_F(Affinity, IsCounted) {
  EXPECT_EQ(affinity_cpus(), CPU_COUNT(&all_));
  run_on_one_cpu();
  EXPECT_EQ(affinity_cpus(), 1);
}

TEST_F(Affinity, AndTheQuotaLimitTheDefaultNumberOfThreads) {
  const int n_cpus = affinity_cpus();
  EXPECT_EQ(default_threads({}), n_cpus);
  EXPECT_EQ(default_threads({50'000, 100'000, ""}), 1);
  EXPECT_EQ(default_threads({150'000, 100'000, ""}), std::min(n_cpus, 2));
  EXPECT_EQ(default_threads({INT64_MAX, 1, ""}), n_cpus);
  run_on_one_cpu();
  EXPECT_EQ(default_threads({}), 1);
  EXPECT_EQ(ThreadPool(0).n_threads(), 1);
}

}  // namespace
}  // namespace dsa
