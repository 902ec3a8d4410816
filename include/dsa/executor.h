// Where the operations of the library run: on its own ThreadPool (dsa/thread_pool.h), or on threads
// that the caller has already.
#pragma once

#include <cstdint>
#include <functional>

#pragma GCC visibility push(default)

namespace dsa {

// What an implementation must hold to:
//   1. parallel_for calls fn(item, worker) once for every item in [0, n_items), in any order and on
//      any threads, 0 <= worker < n_threads(); no two calls with the same worker overlap in time,
//      since a worker's number chooses its scratch memory.
//   2. It returns after every call has returned; what they wrote is visible to the caller.
//   3. n_threads() is at least 1 and does not change between a workspace's size and its use.
// fn does not throw and does not call parallel_for. No result depends on n_threads(), on the order
// of the items or on which worker runs one.
class Executor {
 public:
  virtual ~Executor() = default;

  virtual int n_threads() const = 0;
  virtual void parallel_for(int64_t n_items,
                            const std::function<void(int64_t item, int worker)>& fn) = 0;

 protected:
  Executor() = default;
  Executor(const Executor&) = default;
  Executor& operator=(const Executor&) = default;
};

}  // namespace dsa

#pragma GCC visibility pop
