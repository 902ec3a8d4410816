// Serving: many requests over one Engine, with continuous batching and a prefix cache.
//
//   auto scheduler = dsa::Scheduler::create(model, {.cache_tokens = 65536}, {});
//   (*scheduler)->start();
//   dsa::GenerateRequest request;
//   request.prompt = tokens;
//   request.max_tokens = 100;
//   request.on_token = [](const dsa::TokenEvent& token) { return true; };
//   request.on_done = [](const dsa::GenerateResult& result) {};
//   auto id = (*scheduler)->submit(std::move(request));
//
// The result of a request has the same bits whatever else runs, whenever it runs, whether or not
// its prompt was found in a cache, and whether or not it was preempted: it depends only on the
// request, the model and the engine's options. Prompts are prefilled in chunks that end where pages
// do (EngineOptions::page_tokens), and only such chunks are shared; generated tokens are computed
// one by one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dsa/disk_cache.h"
#include "dsa/engine.h"
#include "dsa/model.h"
#include "dsa/sampler.h"
#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

using RequestId = uint64_t;  // never 0, never used twice by one Scheduler

inline constexpr int32_t kMaxLogprobs = 20;

enum class FinishReason : uint8_t {
  kStop,       // a stop token was chosen, or on_token returned false
  kLength,     // max_tokens, or the largest context (Scheduler::max_context)
  kCancelled,  // cancel(), or shutdown() ran out of time
  kDeadline,   // the request's timeout expired
  kError       // GenerateResult::error says what
};

constexpr const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  return "?";
}

struct TokenLogprob {
  int32_t id = -1;
  float logprob = 0.0F;  // natural logarithm
};

// What the model made of one token of a prompt.
struct PromptToken {
  int32_t id = -1;
  float logprob = 0.0F;           // log softmax of the model's logits after the tokens before it
  int64_t rank = 0;               // among them: 1 is the likeliest; 0 for the first token of all
  std::vector<TokenLogprob> top;  // largest first, ties by the lowest id; of the first token none
};

// What one layer attended to when a token was computed.
struct LayerSelection {
  int64_t layer = 0;
  std::vector<int32_t> positions;  // ascending; of the prompt first, then of generated tokens
  std::vector<float> scores;       // of `positions`; empty in layers whose indexer does not run
};

// One generated token. Spans are valid during the call.
struct TokenEvent {
  RequestId request = 0;
  int64_t index = 0;     // 0 for the first generated token
  int64_t position = 0;  // in the sequence: prompt tokens + index
  int32_t id = -1;
  // log softmax of the model's own logits, before filter, bias, penalties and temperature; 0 unless
  // GenerateRequest::n_logprobs >= 0
  float logprob = 0.0F;
  std::span<const TokenLogprob> top_logprobs;  // largest first, ties by the lowest id
  std::span<const LayerSelection> selections;  // layer by layer; empty unless wanted
};

struct GenerateResult {
  RequestId request = 0;
  FinishReason reason = FinishReason::kError;
  Status error;             // ok unless reason is kError
  int32_t stop_token = -1;  // that ended it; it is not among the generated tokens
  int64_t n_prompt_tokens = 0;
  int64_t n_generated_tokens = 0;  // given to on_token
  // They sum to n_prompt_tokens once the prompt has been prefilled. Hits came from the prefix
  // cache, in memory or on disk.
  int64_t prompt_cache_hit_tokens = 0;
  int64_t prompt_cache_miss_tokens = 0;
  int64_t n_preemptions = 0;
  double queue_seconds = 0;        // submit() to the first step
  double first_token_seconds = 0;  // submit() to the first token; 0 where there is none
  double total_seconds = 0;        // submit() to the end
};

// Constrained decoding: called before and after each choice, on the engine thread.
struct LogitsFilter {
  // [vocab]; -inf forbids a token. All forbidden ends the request with kError.
  std::function<void(std::span<float> logits)> filter{};
  // The chosen token, before it is given to on_token; stop tokens too.
  std::function<void(int32_t token)> accept{};
};

// Callbacks run on the engine thread (or in step()). They must not block: every stream waits for
// them. They may call submit(), cancel() and stats(), nothing else of the Scheduler. They may not
// throw. on_done is called exactly once for each request that submit() accepted.
struct GenerateRequest {
  std::vector<int32_t> prompt{};  // at least one token
  int64_t max_tokens = 16;        // 0: the prompt alone is computed
  SamplerOptions sampler{};       // penalties apply to the generated tokens
  std::vector<int32_t> stop_tokens{};
  int32_t n_logprobs = -1;  // -1: none; 0: the chosen token's; k: also the k best, <= kMaxLogprobs
  // Likewise for each token of the prompt, which then comes from no cache and goes to none.
  int32_t n_prompt_logprobs = -1;
  LogitsFilter logits_filter{};  // either function may be empty
  bool use_prefix_cache = true;  // false: neither read nor written for this request
  std::string cache_salt{};      // prompts are shared among requests of the same salt alone
  // Indexes of generated tokens whose selections on_token is to get; {-1}: of every one.
  std::vector<int64_t> selections{};
  std::chrono::milliseconds timeout{0};  // from submit() on; 0: none

  // Once, when the prompt is computed, before the first on_token; a token each where
  // n_prompt_logprobs >= 0, else none. May be empty.
  std::function<void(std::span<const PromptToken>)> on_prompt{};
  std::function<bool(const TokenEvent&)> on_token{};     // false: finish with kStop; may be empty
  std::function<void(const GenerateResult&)> on_done{};  // may be empty
};

struct SchedulerOptions {
  int64_t max_waiting = 1024;  // requests in the queue; more are refused
  // Upper bound on how long prefill may delay decoding streams: a step takes as many prefill chunks
  // as fit by the time that chunks have taken so far. Where not even one fits, streams get tokens
  // between the halves of layers, so half a layer is the least delay. Does not affect results.
  double max_step_ms = 200.0;
  bool prefix_cache = true;  // false: no request reads or writes it, and there is none on disk
  DiskCacheOptions disk{};
  // Monotonic clock in seconds, for tests. Empty: std::chrono::steady_clock.
  std::function<double()> clock{};
};

// Durations of steps; a step that gives out tokens several times counts once for each interval.
// counts[i]: those that took at most kBoundsMs[i] and more than the bound before; the last: longer.
struct StepHistogram {
  static constexpr double kBoundsMs[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000};
  static constexpr size_t kBuckets = sizeof(kBoundsMs) / sizeof(kBoundsMs[0]) + 1;
  int64_t counts[kBuckets] = {};
  double sum_seconds = 0;
  double longest_seconds = 0;
};

// A moment's counts; gauges unless they are totals since create().
struct SchedulerStats {
  int64_t n_running = 0;
  int64_t n_waiting = 0;
  int64_t n_preempted = 0;  // of the waiting ones
  int64_t submitted_total = 0;
  int64_t refused_total = 0;           // by submit()
  int64_t finished_total[5] = {};      // by FinishReason
  int64_t prefilled_tokens_total = 0;  // of prompts, and recomputed after preemption
  int64_t decoded_tokens_total = 0;    // generated
  int64_t cache_hit_tokens_total = 0;
  int64_t cache_miss_tokens_total = 0;
  int64_t preemptions_total = 0;
  int64_t n_pages = 0;
  int64_t n_free_pages = 0;
  int64_t n_cached_pages = 0;     // in the prefix cache, of these:
  int64_t n_evictable_pages = 0;  // used by no request; free pages plus these are available
  int64_t evictions_total = 0;
  StepHistogram steps;
  DiskCacheStats disk;
};

// Thread safety   submit, cancel, stats and shutdown: any thread. start and step: see there.
// Invariants
//   1. A request holds pages only while it runs; when none runs, free + evictable == all pages.
//   2. Requests start in the order of submit(); one that was preempted goes before those waiting.
//   3. The newest running request is preempted first.
class Scheduler {
 public:
  // engine: max_batch_tokens below max_sequences + page_tokens is raised to that. max_sequences
  // bounds the requests that run at a time. The caches have their memory from the beginning.
  //   Errors  those of Engine::create; kInvalidArgument (an option, by name); kIoError (the disk
  //           cache's directory cannot be used); kResourceExhausted (another process uses it).
  static Result<std::unique_ptr<Scheduler>> create(std::shared_ptr<const Model> model,
                                                   const EngineOptions& engine,
                                                   const SchedulerOptions& options);
  // Ends what still runs with kCancelled.
  ~Scheduler();

  const Model& model() const;
  const EngineOptions& engine_options() const;  // as resolved
  MemoryUse memory() const;  // as the engine was made; n_free_pages is that of stats()
  // Prompt and generated tokens of one request: what the pool and the model's positions allow.
  int64_t max_context() const;

  // Queues a request.
  //   Errors  kInvalidArgument (the field, by name), kResourceExhausted (the queue is full),
  //           kUnavailable (shutting down). No callback is called then.
  Result<RequestId> submit(GenerateRequest request);

  // Ends a request with kCancelled at the next step; without effect when it is done.
  void cancel(RequestId id);

  SchedulerStats stats() const;

  // Runs steps on a thread of its own from now on. Once at most; not together with step().
  void start();

  // Runs one step on the caller's thread; returns whether there was anything to do. For programs
  // and tests without start(); one thread at a time.
  bool step();

  // Accepts no more requests, lets running ones finish within `patience`, ends the rest with
  // kCancelled, then writes the pages that wait for the disk cache. Returns whether all requests
  // finished by themselves. May be called again. Not from a callback.
  bool shutdown(std::chrono::milliseconds patience);

 private:
  struct Impl;
  explicit Scheduler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsa

#pragma GCC visibility pop
