#include "dsa/thread_pool.h"

#include "runtime/cpu.h"
#include "runtime/crew.h"

namespace dsa {

struct ThreadPool::State {
  // More threads than CPUs would only take turns, and make each other wait.
  explicit State(int n_threads) : crew(n_threads - 1, affinity_cpus() - 1) {}

  Crew crew;
};

ThreadPool::ThreadPool(int n_threads)
    : state_(std::make_unique<State>(n_threads > 0 ? n_threads : default_threads())) {}

ThreadPool::~ThreadPool() = default;

const Status& ThreadPool::status() const {
  return state_->crew.status();
}

int ThreadPool::n_threads() const {
  return state_->crew.n_helpers() + 1;
}

void ThreadPool::parallel_for(int64_t n_items, const std::function<void(int64_t, int)>& fn) {
  state_->crew.run(n_items, fn);
}

}  // namespace dsa
