// Running a model: sequences over a paged cache, prefill and decode in one batched call.
//
//   auto model = dsa::Model::open("models/dsa-13m");
//   auto engine = dsa::Engine::create(*model, {.cache_tokens = 8192});
//   auto sequence = (*engine)->create_sequence();
//   (*engine)->prefill(*sequence, tokens, {});
//   auto logits = (*engine)->decode(*sequence, token);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "dsa/forward.h"
#include "dsa/model.h"
#include "dsa/model_config.h"
#include "dsa/status.h"
#include "dsa/types.h"

#pragma GCC visibility push(default)

namespace dsa {

struct EngineOptions {
  CacheFormat kv_cache = CacheFormat::kFp8;
  CacheFormat index_cache = CacheFormat::kFp8;
  int64_t cache_tokens = 4096;  // capacity over all sequences; rounded up to whole pages
  int64_t page_tokens = kDefaultPageTokens;  // of a page of the cache: a power of two, 16 to 4096
  bool resident_cache = false;  // touch all cache memory at creation, so that no step page-faults
  int64_t max_sequences = 64;
  int64_t max_batch_tokens = 256;      // tokens of one pass; sizes the scratch memory
  int64_t max_interleaved_tokens = 0;  // likewise, of a pass begun while another is under way, in
                                       // scratch memory of its own; 0: there can be none
  int n_threads = 0;                   // 0: as many as can run at the same time
  AttentionOptions attention = {};
};

using PageId = int32_t;  // a page of the pool: EngineOptions::page_tokens tokens in every layer

// A forward pass under way. Its sequences have their new tokens once its last piece has run. A pass
// that ends before, because it is dropped or a hook throws, leaves them as they were. Until it ends
// they can be used for nothing else.
//
// Thread safety   that of its engine, which must outlive it.
class Pass {
 public:
  Pass(Pass&& other) noexcept;
  Pass& operator=(Pass&& other) noexcept;  // drops the pass that was here
  ~Pass();                                 // drops a pass that has not ended

  // Computes the next piece: the attention half of the next layer, its feed-forward half, or, after
  // all layers, what is wanted of the last one's output. Returns whether there are more; false for
  // a pass that has ended, and for a call from a hook of the pass itself. Between two pieces other
  // passes can be begun and advanced, in any order: every pass gives the bits that it gives alone.
  bool advance();

  bool under_way() const;  // it has neither ended nor been moved from

 private:
  friend class Engine;
  class State;
  Pass(State* state, uint64_t ticket);
  void drop();

  State* state_;
  uint64_t ticket_;
};

struct MemoryUse {
  int64_t weight_bytes = 0;        // mapped from the checkpoint
  int64_t latent_cache_bytes = 0;  // whole pool
  int64_t index_cache_bytes = 0;
  int64_t scratch_bytes = 0;
  int64_t n_pages = 0;
  int64_t n_free_pages = 0;
};

// Thread safety   one thread at a time.
// Invariants
//   1. All memory is allocated by create(); forward() allocates nothing that grows with context.
//   2. A call that fails, and a pass that does not get to its end, leave every sequence as it was.
//   3. Results do not depend on the number of threads, nor on the other steps of the batch.
class Engine {
 public:
  //   Errors  kInvalidArgument (an option, by name), kUnsupported (DSA_CPU_TIER),
  //           kResourceExhausted (the memory cannot be had).
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const Model> model,
                                                const EngineOptions& options);
  ~Engine();

  const Model& model() const;
  const EngineOptions& options() const;  // as resolved: no zeros left where 0 means a default
  MemoryUse memory() const;

  // An empty sequence.   Errors  kResourceExhausted: max_sequences exist.
  Result<SequenceId> create_sequence();
  // A copy of a sequence that shares its full pages.   Errors  also kNotFound.
  Result<SequenceId> fork_sequence(SequenceId source);
  Status release_sequence(SequenceId sequence);
  Result<int64_t> sequence_length(SequenceId sequence) const;
  // Drops a sequence's tokens from `length` on; what was computed from them is gone with them.
  // Pages that others hold too stay as they are: a sequence that adds tokens to such a page goes on
  // in a copy.
  //   Errors  kNotFound; kInvalidArgument: length, want 0 to the sequence's; kUnsupported: the
  //           model keeps a state besides its entries, and none was kept there. On error nothing
  //           has changed.
  Status truncate(SequenceId sequence, int64_t length);

  // Begins a pass that appends each step's tokens to its sequence and computes what the hooks want.
  // Steps of the same sequence follow each other and give, bit for bit, what a pass for each of
  // them would give. The batch is copied.
  //   Errors  kInvalidArgument (empty step, token outside the vocabulary, a sequence that another
  //           pass computes; more than max_batch_tokens or, while another pass is under way,
  //           max_interleaved_tokens; more passes than that), kNotFound (sequence),
  //           kResourceExhausted (the page pool is full). On error nothing has changed.
  Result<Pass> begin(std::span<const Step> batch, ForwardHooks hooks);

  // Begins a pass and advances it to its end.   Errors  those of begin().
  Status forward(std::span<const Step> batch, const ForwardHooks& hooks);

  // Appends any number of tokens to one sequence, in chunks of max_batch_tokens. Logits of the last
  // token (kLast) or all (kAll) go to hooks.logits. progress(done, total) is called after each
  // chunk; when it returns false the rest is left out and the call succeeds. Chunks before one that
  // ends early, because a hook throws, stay.
  Status prefill(SequenceId sequence,
                 std::span<const int32_t> tokens,
                 const ForwardHooks& hooks,
                 RowsWanted logits = RowsWanted::kLast,
                 const std::function<bool(int64_t done, int64_t total)>& progress = nullptr);

  // Appends one token and returns the logits of its successor, [vocab_size]; valid until the next
  // call.
  Result<std::span<const float>> decode(SequenceId sequence,
                                        int32_t token,
                                        const ForwardHooks& hooks = {});

  // Pages, for callers that keep them longer than a sequence lives: a cache of prefixes, a disk. A
  // page is free when nobody holds it: no sequence, and no caller of hold_page() or import_page().
  //   Errors  of all: kNotFound (the sequence; a page that nobody holds).

  // Holds page `index` of a sequence, whole or begun, once more: that of its tokens from
  // page_tokens * index on. A sequence that adds tokens to a page with other holders goes on in a
  // copy.
  //   Errors  kInvalidArgument: the sequence has no such tokens.
  Result<PageId> hold_page(SequenceId sequence, int64_t index);
  Status drop_page(PageId page);
  // Appends a page to a sequence of whole pages, which holds it too: its first n_tokens tokens (1
  // to page_tokens; not given: all) come next. Who appends vouches that they are what forward()
  // would have stored.
  //   Errors  kInvalidArgument: the length is no multiple of page_tokens; n_tokens. kUnsupported:
  //           a page in part, where the model keeps a state besides its entries.
  Status append_page(SequenceId sequence, PageId page);
  Status append_page(SequenceId sequence, PageId page, int64_t n_tokens);

  int64_t page_bytes() const;  // of all layers: latents, indexer keys
  // Copies a page out.   Errors  kInvalidArgument: the size of bytes, want page_bytes().
  Status export_page(PageId page, std::span<uint8_t> bytes) const;
  // A free page filled with exported bytes, which the caller then holds.
  //   Errors  kInvalidArgument (size), kResourceExhausted (no page is free).
  Result<PageId> import_page(std::span<const uint8_t> bytes);

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Bytes per token and layer, and totals, that an engine with these options would allocate.
struct CacheEstimate {
  int64_t latent_bytes_per_token_layer = 0;
  int64_t index_bytes_per_token_layer = 0;  // of a layer whose indexer runs
  int64_t latent_bytes = 0;
  int64_t index_bytes = 0;
};
// options: such as Engine::create would accept.
CacheEstimate estimate_cache(const ModelConfig& config, const EngineOptions& options);

}  // namespace dsa

#pragma GCC visibility pop
