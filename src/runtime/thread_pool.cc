#include "dsa/thread_pool.h"

#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "common/architecture.h"
#include "common/status_macros.h"
#include "runtime/cpu.h"

namespace dsa {

namespace {

// Between the operations of one token a worker waits some microseconds: it spins that long before
// it asks the kernel to put it to sleep.
constexpr int kSpins = 4096;

template <class T>
void wait_while_equal(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    spin_pause();
  }
  while (value.load(std::memory_order_acquire) == old)
    value.wait(old, std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> threads;
  std::atomic<uint32_t> generation{0};  // one more for each job, and for the end
  std::atomic<int32_t> n_running{0};    // workers that have not finished the current job
  std::atomic<int64_t> next_item{0};
  bool stopping = false;
  int64_t n_items = 0;
  const std::function<void(int64_t, int)>* fn = nullptr;
  Status status;

  void run_items(int worker) {
    for (;;) {
      const int64_t item = next_item.fetch_add(1, std::memory_order_relaxed);
      if (item >= n_items) return;
      (*fn)(item, worker);
    }
  }

  void work(int worker) {
    uint32_t seen = 0;
    for (;;) {
      wait_while_equal(generation, seen);
      ++seen;
      if (stopping) return;
      run_items(worker);
      if (n_running.fetch_sub(1, std::memory_order_acq_rel) == 1) n_running.notify_one();
    }
  }

  void start_job() {
    generation.fetch_add(1, std::memory_order_release);
    generation.notify_all();
  }

  void start_threads(int n_threads) {
    try {
      for (int worker = 1; worker < n_threads; ++worker)
        threads.emplace_back([this, worker] { work(worker); });
    } catch (const std::exception& refused) {  // std::system_error, std::bad_alloc
      const size_t n_started = threads.size() + 1;
      stop_threads();
      status = error(StatusCode::kResourceExhausted, "threads: {}, but the system gives {}: {}",
                     n_threads, n_started, refused.what());
    }
  }

  void stop_threads() {
    stopping = true;
    start_job();
    for (std::thread& thread : threads)
      thread.join();
    threads.clear();
  }
};

ThreadPool::ThreadPool(int n_threads) : state_(std::make_unique<State>()) {
  if (n_threads <= 0) n_threads = usable_cpus();
  state_->start_threads(n_threads);
}

ThreadPool::~ThreadPool() {
  state_->stop_threads();
}

const Status& ThreadPool::status() const {
  return state_->status;
}

int ThreadPool::n_threads() const {
  return static_cast<int>(state_->threads.size()) + 1;
}

void ThreadPool::parallel_for(int64_t n_items, const std::function<void(int64_t, int)>& fn) {
  if (n_items <= 0) return;
  State& state = *state_;
  state.fn = &fn;
  state.n_items = n_items;
  state.next_item.store(0, std::memory_order_relaxed);
  if (state.threads.empty() || n_items == 1) {
    state.run_items(0);
    return;
  }
  state.n_running.store(static_cast<int32_t>(state.threads.size()), std::memory_order_relaxed);
  state.start_job();
  state.run_items(0);
  for (int32_t left = state.n_running.load(std::memory_order_acquire); left != 0;
       left = state.n_running.load(std::memory_order_acquire)) {
    wait_while_equal(state.n_running, left);
  }
}

}  // namespace dsa
