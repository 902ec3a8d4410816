// Executors other than the library's own, as a caller may bring them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dsa/executor.h"
#include "dsa/thread_pool.h"

namespace dsa {

// The caller's thread alone, last item first, as one worker after another.
class ReverseExecutor final : public Executor {
 public:
  explicit ReverseExecutor(int n_workers) : n_workers_(n_workers) {}
  int n_threads() const override { return n_workers_; }
  void parallel_for(int64_t n_items,
                    const std::function<void(int64_t item, int worker)>& fn) override {
    for (int64_t item = n_items - 1; item >= 0; --item)
      fn(item, static_cast<int>(item % n_workers_));
  }

 private:
  int n_workers_;
};

// New threads for every call, each with every n-th item.
class StdThreadExecutor final : public Executor {
 public:
  explicit StdThreadExecutor(int n_workers) : n_workers_(n_workers) {}
  int n_threads() const override { return n_workers_; }
  void parallel_for(int64_t n_items,
                    const std::function<void(int64_t item, int worker)>& fn) override {
    std::vector<std::thread> threads;
    for (int worker = 0; worker < n_workers_; ++worker) {
      threads.emplace_back([&, worker] {
        for (int64_t item = worker; item < n_items; item += n_workers_)
          fn(item, worker);
      });
    }
    for (std::thread& thread : threads)
      thread.join();
  }

 private:
  int n_workers_;
};

inline std::vector<std::unique_ptr<Executor>> all_executors() {
  std::vector<std::unique_ptr<Executor>> all;
  all.push_back(std::make_unique<ThreadPool>(1));
  all.push_back(std::make_unique<ThreadPool>(3));
  all.push_back(std::make_unique<ReverseExecutor>(2));
  all.push_back(std::make_unique<StdThreadExecutor>(3));
  return all;
}

}  // namespace dsa
