#include "runtime/crew.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "common/architecture.h"
#include "common/status_macros.h"

namespace dsa {

namespace {

using namespace std::chrono_literals;

// Between two jobs of a token pass some microseconds, and a thread that sleeps needs 50 to wake up.
constexpr auto kSpin = 100us;
constexpr int kPausesPerLook = 32;  // at the clock: about a microsecond

// A wait is not lost below this: a thread that wakes up, a short interrupt.
constexpr auto kShortWait = 200us;
constexpr int kPatience = 16;
constexpr auto kLongestPatience = 2s;

// A thread whose clock cannot be read counts as one that computes all the time.
std::chrono::nanoseconds cpu_time_of(std::thread& thread) {
  clockid_t clock;
  timespec time;
  if (pthread_getcpuclockid(thread.native_handle(), &clock) != 0 ||
      clock_gettime(clock, &time) != 0) {
    return std::chrono::steady_clock::now().time_since_epoch();
  }
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// The item that this thread is running: of which crew, as which worker.
struct Place {
  const void* crew = nullptr;
  int worker = 0;
};
thread_local Place t_place;

class InPlace {
 public:
  InPlace(const void* crew, int worker) : before_(std::exchange(t_place, Place{crew, worker})) {}
  ~InPlace() { t_place = before_; }
  InPlace(const InPlace&) = delete;
  InPlace& operator=(const InPlace&) = delete;

 private:
  Place before_;
};

void run_here(int64_t n_items, const Crew::Fn& fn, int worker) {
  std::exception_ptr thrown;
  for (int64_t item = 0; item < n_items; ++item) {
    try {
      fn(item, worker);
    } catch (...) {
      if (!thrown) thrown = std::current_exception();
    }
  }
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace

struct alignas(64) Crew::Helper {
  std::atomic<uint32_t> asleep{0};
  std::thread thread;
};

Crew::Crew(int n_helpers, int n_useful)
    : n_useful_(std::min(n_helpers, n_useful)), most_asked_(n_useful_) {
  try {
    start(n_helpers);
  } catch (const std::exception& refused) {  // std::system_error, std::bad_alloc
    const auto runs = [](const auto& helper) { return helper->thread.joinable(); };
    status_ = error(StatusCode::kResourceExhausted, "threads: {}, but the system gives {}: {}",
                    n_helpers + 1, 1 + std::count_if(helpers_.begin(), helpers_.end(), runs),
                    refused.what());
    stop();
    n_useful_ = most_asked_ = 0;
    helpers_.clear();
  }
}

void Crew::start(int n_helpers) {
  cpu_times_.resize(static_cast<size_t>(n_helpers));
  for (int i = 0; i < n_helpers; ++i)
    helpers_.push_back(std::make_unique<Helper>());
  for (int i = 0; i < n_helpers; ++i)
    helpers_[static_cast<size_t>(i)]->thread = std::thread([this, i] { work(i + 1); });
}

Crew::~Crew() {
  stop();
}

void Crew::stop() {
  stopping_.store(true);
  for (const auto& helper : helpers_) {
    wake(helper.get());
    if (helper->thread.joinable()) helper->thread.join();
  }
}

// ---- a helper

void Crew::work(int number) {
  Helper* self = helpers_[static_cast<size_t>(number) - 1].get();
  while (!stopping_.load(std::memory_order_acquire)) {
    const int64_t taken = wait_for_item(number);
    if (taken == 0) {
      sleep(self);
      continue;
    }
    const int64_t n_done = run_from(n_items_ - taken, number);
    if (unfinished_.fetch_sub(n_done, std::memory_order_acq_rel) == n_done)
      unfinished_.notify_one();
  }
}

// What take() gave, or 0 when it is time to sleep.
int64_t Crew::wait_for_item(int number) {
  uint32_t seen = n_jobs_.load(std::memory_order_relaxed);
  Clock::time_point end = Clock::now() + kSpin;
  while (number <= n_asked_.load(std::memory_order_relaxed)) {
    // The caller could run its items itself if it had its CPU.
    const int cpu = sched_getcpu();
    if (cpu >= 0 && cpu == caller_cpu_.load(std::memory_order_relaxed)) {
      in_the_way_.store(true, std::memory_order_relaxed);
      return 0;
    }
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (const int64_t taken = take(); taken > 0) return taken;
      spin_pause();
    }
    const Clock::time_point now = Clock::now();
    const uint32_t job = n_jobs_.load(std::memory_order_relaxed);
    if (job == seen && now >= end) break;
    if (job != seen) end = now + kSpin;
    seen = job;
  }
  return 0;
}

void Crew::sleep(Helper* helper) {
  helper->asleep.store(1);
  if (stopping_.load()) {
    helper->asleep.store(0);
  } else {
    helper->asleep.wait(1);
  }
}

void Crew::wake(Helper* helper) {
  if (helper->asleep.load() == 0) return;
  helper->asleep.store(0);
  helper->asleep.notify_one();
}

// ---- items

// How many items of the open job were left, with the one that is now in the hand of who asked; 0:
// there was none.
int64_t Crew::take() {
  if (untaken_.load(std::memory_order_relaxed) <= 0) return 0;
  return std::max<int64_t>(untaken_.fetch_sub(1, std::memory_order_acq_rel), 0);
}

// Runs the item and then more, until there is none; how many.
int64_t Crew::run_from(int64_t item, int worker) {
  const InPlace place(this, worker);
  int64_t n_done = 0;
  for (int64_t taken = n_items_ - item; taken > 0; taken = take()) {
    run_item(n_items_ - taken, worker);
    ++n_done;
  }
  return n_done;
}

void Crew::run_item(int64_t item, int worker) {
  try {
    (*fn_)(item, worker);
  } catch (...) {
    const std::lock_guard hold(thrown_mutex_);
    if (!thrown_) thrown_ = std::current_exception();
  }
}

// ---- the caller

void Crew::run(int64_t n_items, const Fn& fn) {
  if (n_items <= 0) return;
  if (t_place.crew == this) return run_here(n_items, fn, t_place.worker);
  const int n_asked = n_to_ask(n_items);
  if (n_asked == 0) {
    const InPlace place(this, 0);
    return run_here(n_items, fn, 0);
  }
  open_job(n_items, fn, n_asked);
  const int64_t n_done = run_from(0, 0);
  if (unfinished_.fetch_sub(n_done, std::memory_order_acq_rel) != n_done) wait_for_helpers();
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

// Helpers that are to have a part in a job.
int Crew::n_to_ask(int64_t n_items) {
  if (in_the_way_.load(std::memory_order_relaxed)) {
    in_the_way_.store(false, std::memory_order_relaxed);
    lose(kSpin);
  }
  if (most_asked_ < n_useful_ && Clock::now() >= ask_again_) most_asked_ = n_useful_;
  return static_cast<int>(std::min<int64_t>(most_asked_, n_items - 1));
}

void Crew::open_job(int64_t n_items, const Fn& fn, int n_asked) {
  fn_ = &fn;
  n_items_ = n_items;
  n_asked_.store(most_asked_, std::memory_order_relaxed);
  caller_cpu_.store(sched_getcpu(), std::memory_order_relaxed);
  n_jobs_.fetch_add(1, std::memory_order_relaxed);
  unfinished_.store(n_items, std::memory_order_relaxed);
  untaken_.store(n_items - 1);
  for (int i = 0; i < n_asked; ++i)
    wake(helpers_[static_cast<size_t>(i)].get());
}

void Crew::wait_for_helpers() {
  const Clock::time_point spin_end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (unfinished_.load(std::memory_order_acquire) == 0) return;
      spin_pause();
    }
  } while (Clock::now() < spin_end);

  const auto n_asked = static_cast<size_t>(most_asked_);
  for (size_t i = 0; i < n_asked; ++i)
    cpu_times_[i] = cpu_time_of(helpers_[i]->thread);
  const Clock::time_point begin = Clock::now();
  for (int64_t left = unfinished_.load(std::memory_order_acquire); left != 0;
       left = unfinished_.load(std::memory_order_acquire)) {
    unfinished_.wait(left, std::memory_order_acquire);
  }
  const Clock::duration waited = Clock::now() - begin;
  if (waited < kShortWait) return;
  std::chrono::nanoseconds most_computed = 0ns;
  for (size_t i = 0; i < n_asked; ++i)
    most_computed = std::max(most_computed, cpu_time_of(helpers_[i]->thread) - cpu_times_[i]);
  if (waited - most_computed > kShortWait) lose(waited - most_computed);
}

// For some time fewer helpers are asked.
void Crew::lose(Clock::duration lost) {
  most_asked_ /= 2;
  n_asked_.store(most_asked_, std::memory_order_relaxed);
  const Clock::duration patience = std::min<Clock::duration>(kPatience * lost, kLongestPatience);
  ask_again_ = std::max(ask_again_, Clock::now()) + patience;
}

}  // namespace dsa
