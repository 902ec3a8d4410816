// Worker threads for one engine, or for calls of the operations in dsa/ops.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "dsa/executor.h"
#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

// Thread safety   one thread at a time may call parallel_for of a pool.
// Invariants
//   1. The caller is worker 0; a pool of one thread starts no thread.
//   2. parallel_for returns after every item ran; what the items wrote is visible to the caller.
//   3. Which worker runs an item is not defined; results may not depend on it.
//   4. The caller waits only for workers that have taken an item, and can run all items itself. So
//   a
//      thread that gets no CPU costs nothing. When threads lose their CPU with an item in their
//      hand, fewer of them are asked for some time, down to none.
class ThreadPool final : public Executor {
 public:
  // n_threads <= 0: as many as can run at the same time, by the affinity mask and the CPU quota of
  // the control groups (CpuInfo::n_threads). Threads beyond the affinity mask are started but not
  // asked. Where the system refuses a thread, none is started: the pool is the caller alone, and
  // status() says so.
  explicit ThreadPool(int n_threads);
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  //   Errors  kResourceExhausted: the system refused a thread; names the number that was wanted
  const Status& status() const;
  int n_threads() const override;

  // Runs fn(item, worker) for every item in [0, n_items); 0 <= worker < n_threads().
  // When fn throws, the other items run all the same; then the first exception is thrown again. A
  // call of fn that calls parallel_for of the same pool runs those items itself, one by one, as the
  // same worker.
  void parallel_for(int64_t n_items,
                    const std::function<void(int64_t item, int worker)>& fn) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dsa

#pragma GCC visibility pop
