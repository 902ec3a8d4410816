// What other threads see of a Batcher: a mailbox of requests and cancellations, and its counts.
#include "dsa/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "dsa/cpu.h"

#include "cache/disk_folders.h"
#include "common/status_macros.h"
#include "scheduler/batcher.h"
#include "scheduler/check_request.h"
#include "scheduler/identity.h"

namespace dsa {

namespace {

double steady_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

Status check_options(const SchedulerOptions& options) {
  if (options.max_waiting < 1) {
    return invalid_argument("max_waiting: {}, want at least 1", options.max_waiting);
  }
  if (!(options.max_step_ms > 0 && options.max_step_ms <= 1e9)) {
    return invalid_argument("max_step_ms: {}, want more than 0", options.max_step_ms);
  }
  if (options.disk.dir.empty()) return {};
  if (options.disk.max_bytes < 1) {
    return invalid_argument("disk.max_bytes: {}, want at least 1", options.disk.max_bytes);
  }
  if (options.disk.max_pending_bytes < 1) {
    return invalid_argument("disk.max_pending_bytes: {}, want at least 1",
                            options.disk.max_pending_bytes);
  }
  return {};
}

}  // namespace

struct Scheduler::Impl {
  std::shared_ptr<const Model> model;
  SchedulerOptions options;
  std::function<double()> clock;
  EngineOptions engine_options;
  MemoryUse memory;
  int64_t max_context = 0;
  PageKey root = {};
  std::unique_ptr<scheduler::Batcher> batcher;  // touched by whoever runs steps

  mutable std::mutex mutex;
  std::condition_variable changed;  // mail, an end of work, or `stopping`
  std::deque<std::unique_ptr<scheduler::RequestState>> submitted;
  std::deque<RequestId> cancelled;
  bool cancel_all = false;
  bool draining = false;
  bool stopping = false;
  bool busy = false;  // the batcher has work
  RequestId last_id = 0;
  int64_t n_refused = 0;
  SchedulerStats stats;  // of the batcher, after its latest step

  std::mutex shutdown_mutex;  // one shutdown() at a time
  std::thread thread;

  Result<std::unique_ptr<DiskTier>> open_disk(const Engine& engine, const std::string& about) const;
  Result<RequestId> refuse(Status status);
  bool take_mail();
  bool step();
  void publish();
  void run();
  bool idle() const { return !busy && submitted.empty(); }
  bool drain(std::chrono::steady_clock::time_point deadline);
  void stop();
};

Scheduler::Scheduler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Scheduler>> Scheduler::create(std::shared_ptr<const Model> model,
                                                     const EngineOptions& engine_options,
                                                     const SchedulerOptions& options) {
  if (model == nullptr) return invalid_argument("model: null, want an open model");
  DSA_RETURN_IF_ERROR(check_options(options));
  EngineOptions wanted = engine_options;
  wanted.max_batch_tokens =
      std::max(wanted.max_batch_tokens, wanted.max_sequences + wanted.page_tokens);
  wanted.max_interleaved_tokens = wanted.max_sequences;
  wanted.resident_cache = true;
  DSA_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::create(model, wanted));
  DSA_ASSIGN_OR_RETURN(const std::string tier, active_tier());
  auto impl = std::make_unique<Impl>();
  impl->model = model;
  impl->options = options;
  impl->clock = options.clock ? options.clock : steady_seconds;
  impl->engine_options = engine->options();
  impl->memory = engine->memory();
  const int64_t pool_tokens = impl->memory.n_pages * engine->options().page_tokens;
  impl->max_context = std::min(pool_tokens, model->config().max_position);
  const std::string about = scheduler::describe_pages(*model, engine->options(), tier);
  impl->root = scheduler::root_key(about);
  DSA_ASSIGN_OR_RETURN(std::unique_ptr<DiskTier> disk, impl->open_disk(*engine, about));
  impl->batcher = std::make_unique<scheduler::Batcher>(std::move(engine), std::move(disk),
                                                       options.max_step_ms / 1000,
                                                       impl->max_context, impl->clock);
  impl->publish();
  return std::unique_ptr<Scheduler>(new Scheduler(std::move(impl)));
}

Result<std::unique_ptr<DiskTier>> Scheduler::Impl::open_disk(const Engine& engine,
                                                             const std::string& about) const {
  if (!options.prefix_cache || options.disk.dir.empty()) return std::unique_ptr<DiskTier>();
  const std::string description =
      fmt::format("{}\n{}{}", about, kPageTokensLine, engine.options().page_tokens);
  return DiskTier::open(options.disk, to_hex(root), description, engine.page_bytes());
}

Scheduler::~Scheduler() {
  shutdown(std::chrono::milliseconds(0));
}

const Model& Scheduler::model() const {
  return *impl_->model;
}
const EngineOptions& Scheduler::engine_options() const {
  return impl_->engine_options;
}
int64_t Scheduler::max_context() const {
  return impl_->max_context;
}

MemoryUse Scheduler::memory() const {
  MemoryUse use = impl_->memory;
  const std::lock_guard<std::mutex> hold(impl_->mutex);
  use.n_free_pages = impl_->stats.n_free_pages;
  return use;
}

Result<RequestId> Scheduler::Impl::refuse(Status status) {
  const std::lock_guard<std::mutex> hold(mutex);
  ++n_refused;
  return status;
}

Result<RequestId> Scheduler::submit(GenerateRequest request) {
  const Status status =
      scheduler::check_request(request, impl_->model->config().vocab_size, impl_->max_context);
  if (!status.ok()) return impl_->refuse(status);
  Result<Sampler> sampler = Sampler::create(request.sampler);
  if (!sampler.ok()) return impl_->refuse(sampler.status());
  const bool shares =
      impl_->options.prefix_cache && request.use_prefix_cache && request.n_prompt_logprobs < 0;
  const double timeout = std::chrono::duration<double>(request.timeout).count();
  const int64_t page_tokens = impl_->engine_options.page_tokens;
  auto state = std::make_unique<scheduler::RequestState>(0, std::move(request),
                                                         std::move(sampler).value(), page_tokens);
  if (shares) {
    const PageKey root = scheduler::salted_key(impl_->root, state->request.cache_salt);
    state->keys = page_keys(root, state->tokens, static_cast<size_t>(page_tokens));
  }
  state->submitted = impl_->clock();
  if (timeout > 0) state->deadline = state->submitted + timeout;
  RequestId id = 0;
  {
    const std::lock_guard<std::mutex> hold(impl_->mutex);
    const int64_t n_waiting = impl_->stats.n_waiting - impl_->stats.n_preempted +
                              static_cast<int64_t>(impl_->submitted.size());
    const bool full = n_waiting >= impl_->options.max_waiting;
    if (full || impl_->draining) {
      ++impl_->n_refused;
      if (impl_->draining) return Status(StatusCode::kUnavailable, "shutting down");
      return error(StatusCode::kResourceExhausted, "queue: {} requests wait, want at most {}",
                   n_waiting, impl_->options.max_waiting);
    }
    id = state->id = ++impl_->last_id;
    impl_->submitted.push_back(std::move(state));
  }
  impl_->changed.notify_all();
  return id;
}

void Scheduler::cancel(RequestId id) {
  {
    const std::lock_guard<std::mutex> hold(impl_->mutex);
    if (impl_->idle()) return;  // so that nothing piles up that no step would take
    impl_->cancelled.push_back(id);
  }
  impl_->changed.notify_all();
}

SchedulerStats Scheduler::stats() const {
  const std::lock_guard<std::mutex> hold(impl_->mutex);
  SchedulerStats stats = impl_->stats;
  stats.disk = impl_->batcher->pages().disk_stats();  // the disk goes on when no step does
  stats.n_waiting += static_cast<int64_t>(impl_->submitted.size());
  stats.submitted_total = static_cast<int64_t>(impl_->last_id);
  stats.refused_total = impl_->n_refused;
  return stats;
}

// Hands what came since the last step to the batcher; false when it has nothing to do.
bool Scheduler::Impl::take_mail() {
  const std::lock_guard<std::mutex> hold(mutex);
  for (std::unique_ptr<scheduler::RequestState>& state : submitted) {
    busy = true;
    batcher->requests().add(std::move(state));
  }
  submitted.clear();
  for (const RequestId id : cancelled)
    batcher->requests().cancel(id);
  cancelled.clear();
  if (cancel_all) batcher->requests().cancel_all();
  stats.n_waiting = batcher->requests().n_waiting();  // what was in the mailbox still counts
  return busy;
}

bool Scheduler::Impl::step() {
  if (!take_mail()) return false;
  const bool any = batcher->step();
  publish();
  return any;
}

void Scheduler::Impl::publish() {
  const SchedulerStats now = batcher->stats();
  {
    const std::lock_guard<std::mutex> hold(mutex);
    stats = now;
    busy = now.n_running + now.n_waiting > 0;
  }
  changed.notify_all();
}

void Scheduler::Impl::run() {
  std::unique_lock<std::mutex> hold(mutex);
  for (;;) {
    changed.wait(hold, [this] { return stopping || !idle(); });
    if (idle()) return;
    hold.unlock();
    step();
    hold.lock();
  }
}

void Scheduler::start() {
  const std::lock_guard<std::mutex> hold(impl_->shutdown_mutex);
  if (impl_->thread.joinable()) return;
  impl_->thread = std::thread([this] { impl_->run(); });
}

bool Scheduler::step() {
  return impl_->step();
}

// True when nothing is left to do before the deadline.
bool Scheduler::Impl::drain(std::chrono::steady_clock::time_point deadline) {
  if (thread.joinable()) {
    std::unique_lock<std::mutex> hold(mutex);
    return changed.wait_until(hold, deadline, [this] { return idle(); });
  }
  for (;;) {
    {
      const std::lock_guard<std::mutex> hold(mutex);
      if (idle()) return true;
    }
    if (std::chrono::steady_clock::now() >= deadline) return false;
    step();
  }
}

void Scheduler::Impl::stop() {
  {
    const std::lock_guard<std::mutex> hold(mutex);
    stopping = true;
  }
  changed.notify_all();
  if (thread.joinable()) thread.join();
}

bool Scheduler::shutdown(std::chrono::milliseconds patience) {
  const std::lock_guard<std::mutex> alone(impl_->shutdown_mutex);
  {
    const std::lock_guard<std::mutex> hold(impl_->mutex);
    impl_->draining = true;
  }
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);
  const bool finished = impl_->drain(Clock::now() + std::min(patience, kLongest));
  if (!finished) {
    {
      const std::lock_guard<std::mutex> hold(impl_->mutex);
      impl_->cancel_all = true;
    }
    impl_->changed.notify_all();
    impl_->drain(Clock::now() + kLongest);
  }
  impl_->stop();
  impl_->batcher->pages().save();
  impl_->batcher->pages().flush();
  impl_->publish();
  return finished;
}

}  // namespace dsa
