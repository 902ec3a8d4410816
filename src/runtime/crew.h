// Threads that help one caller with the items of its jobs: what ThreadPool is made of.
//
// One job is open at a time. Its items are counted down in `untaken_`; `unfinished_` counts those
// that have not run to their end. Both are all that the caller and its helpers share.
//
//   caller   writes the job, unfinished_ = n, untaken_ = n - 1 (it keeps the first item), rings for
//            helpers that sleep, takes items until there is none, waits for unfinished_ == 0.
//   helper   spins until untaken_ > 0, takes an item, runs it, takes more; subtracts what it ran
//            from unfinished_. It sleeps when no job came for kSpin.
//
// Taking is untaken_.fetch_sub(1): who gets a number above 0 has an item, and its number says
// which.
//
// Why nobody waits for a helper that took nothing   The end of a job is a count of items, not of
//   threads. A helper that never runs has no item, so the caller, which takes items like everyone,
//   runs them all itself.
// Why a helper that comes late touches nothing that is gone   It reads the job only with an item
//   in its hand, and a job with an item in someone's hand has not ended: the caller is still in
//   run(), so the job's function lives and is not written over. Otherwise it reads the atomics of
//   the crew, which outlive the threads. An item that it takes belongs to whichever job is open.
// Order in memory   The store to untaken_ releases the job, fetch_sub acquires it (a row of
//   fetch_subs continues the release). The fetch_sub on unfinished_ releases what the items wrote,
//   the caller acquires it with 0. Waking needs no more than that: a helper that misses a job while
//   it falls asleep is rung for by the next one. Only the end must not be missed: `stopping_` and
//   `asleep` are sequentially consistent, so either the helper sees the one or stop() the other.
//
// A helper that was preempted with an item in its hand has to be waited for, some milliseconds on a
// machine where other work runs. The caller spins for kSpin and then sleeps, which leaves its core
// to that helper. It compares the time with the helpers' own CPU time: what no helper computed in
// is lost, and for kPatience times as long it asks half as many helpers, down to none. So at most
// one part in kPatience + 1 of the time is lost, and the rest is no slower than without helpers.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "dsa/status.h"

namespace dsa {

class Crew {
 public:
  using Fn = std::function<void(int64_t item, int worker)>;

  // Starts helpers 1 to n_helpers, of which at most n_useful are asked. Where the system refuses a
  // thread there are none, and status() says so: kResourceExhausted.
  Crew(int n_helpers, int n_useful);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  const Status& status() const { return status_; }
  int n_helpers() const { return static_cast<int>(helpers_.size()); }

  // fn(item, worker) for every item in [0, n_items): worker 0 is the caller, others are helpers.
  // One caller at a time. Called by fn itself it runs the items right there, as the worker of that
  // item. Every item runs even if one throws; the first exception is thrown again at the end.
  void run(int64_t n_items, const Fn& fn);

 private:
  using Clock = std::chrono::steady_clock;
  struct Helper;

  void start(int n_helpers);
  void stop();
  void work(int number);
  int64_t wait_for_item(int number);
  void sleep(Helper* helper);
  void wake(Helper* helper);

  int64_t take();
  int64_t run_from(int64_t item, int worker);
  void run_item(int64_t item, int worker);

  int n_to_ask(int64_t n_items);
  void open_job(int64_t n_items, const Fn& fn, int n_asked);
  void wait_for_helpers();
  void lose(Clock::duration lost);

  std::vector<std::unique_ptr<Helper>> helpers_;
  Status status_;

  // The open job: written by the caller while no item is in anyone's hand.
  const Fn* fn_ = nullptr;
  int64_t n_items_ = 0;
  std::mutex thrown_mutex_;
  std::exception_ptr thrown_;

  // Hints, of which no result depends.
  std::atomic<int> n_asked_{0};          // helpers above this number sleep
  std::atomic<int> caller_cpu_{-1};      // where the job was opened
  std::atomic<bool> in_the_way_{false};  // a helper was given the caller's CPU
  std::atomic<bool> stopping_{false};

  // Of the caller alone.
  int n_useful_ = 0;
  int most_asked_ = 0;  // fewer than are useful until `ask_again_`
  Clock::time_point ask_again_;
  std::vector<std::chrono::nanoseconds> cpu_times_;

  alignas(64) std::atomic<int64_t> untaken_{0};
  std::atomic<uint32_t> n_jobs_{0};
  alignas(64) std::atomic<int64_t> unfinished_{0};
};

}  // namespace dsa
