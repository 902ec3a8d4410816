#include "runtime/crew.h"

#include <gtest/gtest.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/cpu.h"

namespace dsa {
namespace {

constexpr int kHelpers = 3;

std::set<pid_t> threads_of_process() {
  std::set<pid_t> ids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ids.insert(std::stoi(entry.path().filename()));
  return ids;
}

sem_t g_stopped;   // one more for each thread that stands still
sem_t g_continue;  // one for each that may go on

void stand_still(int) {
  sem_post(&g_stopped);
  while (sem_wait(&g_continue) != 0) {
  }
}

// Helpers that get no CPU: each is in a signal handler, wherever it was, until let_go().
class StoppedCrew {
 public:
  StoppedCrew() {
    sem_init(&g_stopped, 0, 0);
    sem_init(&g_continue, 0, 0);
    struct sigaction action = {};
    action.sa_handler = stand_still;
    sigaction(SIGUSR1, &action, &before_);
    const std::set<pid_t> others = threads_of_process();
    crew_ = std::make_unique<Crew>(kHelpers, kHelpers);
    for (const pid_t id : threads_of_process()) {
      if (!others.contains(id)) syscall(SYS_tgkill, getpid(), id, SIGUSR1);
    }
    for (int i = 0; i < kHelpers; ++i) {
      while (sem_wait(&g_stopped) != 0) {
      }
    }
  }
  ~StoppedCrew() {
    let_go();
    crew_.reset();
    sigaction(SIGUSR1, &before_, nullptr);
  }
  StoppedCrew(const StoppedCrew&) = delete;
  StoppedCrew& operator=(const StoppedCrew&) = delete;

  void let_go() {
    for (; n_stopped_ > 0; --n_stopped_)
      sem_post(&g_continue);
  }

  Crew& operator*() { return *crew_; }

 private:
  std::unique_ptr<Crew> crew_;
  struct sigaction before_ = {};
  int n_stopped_ = kHelpers;
};

TEST(Crew, DoesNotWaitForHelpersThatGetNoCpu) {
  StoppedCrew stopped;
  std::vector<int> workers(1000, -1);
  (*stopped).run(1000,
                 [&](int64_t item, int worker) { workers[static_cast<size_t>(item)] = worker; });
  EXPECT_EQ(std::count(workers.begin(), workers.end(), 0), 1000);
}

TEST(Crew, HelpersThatComeLateTouchNothingOfAJobThatEnded) {
  for (int round = 0; round < 20; ++round) {
    StoppedCrew stopped;
    {
      auto runs = std::make_unique<std::vector<int>>(100, 0);
      (*stopped).run(100, [&](int64_t item, int) { ++(*runs)[static_cast<size_t>(item)]; });
      EXPECT_EQ(std::count(runs->begin(), runs->end(), 1), 100);
    }
    stopped.let_go();
    for (const int64_t n : {2, 1, 50, 3}) {
      std::vector<int> runs(static_cast<size_t>(n), 0);
      (*stopped).run(n, [&](int64_t item, int) { ++runs[static_cast<size_t>(item)]; });
      EXPECT_EQ(std::count(runs.begin(), runs.end(), 1), n);
    }
  }
}

TEST(Crew, HelpersTakeAPart) {
  if (affinity_cpus() < 2) GTEST_SKIP() << "one CPU: nobody helps";
  Crew crew(kHelpers, kHelpers);
  for (std::atomic<int> n_helped{0}; n_helped < 10;) {
    crew.run(20, [&](int64_t, int worker) { n_helped += worker != 0; });
  }
}

TEST(Crew, GivesEachThreadItsOwnWorkerNumber) {
  Crew crew(kHelpers, kHelpers);
  std::vector<int> busy(kHelpers + 1, 0);  // written without synchronisation
  std::atomic<bool> collision{false};
  for (int round = 0; round < 100; ++round) {
    crew.run(200, [&](int64_t, int worker) {
      int& mine = busy[static_cast<size_t>(worker)];
      if (++mine != 1) collision = true;
      --mine;
    });
  }
  EXPECT_FALSE(collision);
}

TEST(Crew, AsksOnlyUsefulHelpers) {
  Crew crew(kHelpers, 0);
  EXPECT_EQ(crew.n_helpers(), kHelpers);
  for (int round = 0; round < 200; ++round) {
    crew.run(100, [&](int64_t, int worker) { EXPECT_EQ(worker, 0); });
  }
}

TEST(Crew, AnItemsOwnJobRunsAsThatItemsWorker) {
  Crew crew(kHelpers, kHelpers);
  Crew other(1, 1);
  std::atomic<int64_t> sum{0};
  for (const int64_t n_outer : {1, 200}) {  // by the caller alone, and shared
    sum = 0;
    crew.run(n_outer, [&](int64_t, int outer_worker) {
      crew.run(5, [&](int64_t item, int worker) {
        EXPECT_EQ(worker, outer_worker);
        sum += item;
      });
    });
    EXPECT_EQ(sum, n_outer * 10);
  }
  sum = 0;
  crew.run(1, [&](int64_t, int) { other.run(100, [&](int64_t item, int) { sum += item; }); });
  EXPECT_EQ(sum, 4950);
}

TEST(Crew, RunsTheOtherItemsAndThenThrowsTheException) {
  for (const int n_helpers : {0, kHelpers}) {
    Crew crew(n_helpers, n_helpers);
    for (int round = 0; round < 100; ++round) {
      std::vector<int> runs(64, 0);
      const auto some_throw = [&](int64_t item, int) {
        ++runs[static_cast<size_t>(item)];
        if (item % 16 == 7) throw std::runtime_error("item");
      };
      EXPECT_THROW(crew.run(64, some_throw), std::runtime_error);
      EXPECT_EQ(std::count(runs.begin(), runs.end(), 1), 64);
      std::atomic<int> n_after{0};
      EXPECT_NO_THROW(crew.run(10, [&](int64_t, int) { ++n_after; }));
      EXPECT_EQ(n_after, 10);
    }
  }
}

TEST(Crew, AnExceptionOfAnItemsOwnJobReachesTheCaller) {
  Crew crew(kHelpers, kHelpers);
  EXPECT_THROW(crew.run(8, [&](int64_t, int) { crew.run(2, [](int64_t, int) { throw 1; }); }), int);
}

TEST(Crew, ServesOneCallerAfterAnother) {
  Crew crew(kHelpers, kHelpers);
  int64_t sum = 0;
  for (int round = 0; round < 10; ++round) {
    std::thread([&] {
      std::atomic<int64_t> part{0};
      crew.run(100, [&](int64_t item, int) { part += item; });
      sum += part;
    }).join();
  }
  EXPECT_EQ(sum, 10 * 4950);
}

TEST(Crew, EndsWhetherItsHelpersSleepOrNot) {
  for (int round = 0; round < 200; ++round) {
    Crew crew(kHelpers, kHelpers);
    if (round % 2 == 1) crew.run(10, [](int64_t, int) {});
    if (round % 4 >= 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace
}  // namespace dsa
