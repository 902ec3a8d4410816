// The forward pass: a batch of sequence steps through every layer, piece by piece.
//
// All tokens of the batch go through a layer together. Scratch is allocated once, for one batch at
// a time; passes that are under way at the same time are objects of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dsa/forward.h"
#include "dsa/model_config.h"
#include "dsa/status.h"

#include "cache/page_pool.h"
#include "layers/feed_forward.h"
#include "layers/logits_head.h"
#include "layers/mla_dsa.h"
#include "layers/pass_options.h"
#include "layers/placed_step.h"
#include "layers/residual.h"
#include "layers/selection.h"
#include "model/weights.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

// The context with the precision of products that the options ask for: caches all in f32 mean f32
// arithmetic, else each weight's format says what its other factor is rounded to.
OpContext product_context(const OpContext& context, const PassOptions& options);

class ForwardPass {
 public:
  // options: resolved (no zeros that stand for defaults). config, weights, pool and context's
  // members must outlive the object.
  static Result<std::unique_ptr<ForwardPass>> create(const ModelConfig& config,
                                                     const ModelWeights& weights,
                                                     const PassOptions& options,
                                                     const OpContext& context,
                                                     const PagePool* pool);

  // Takes a batch, at most options.max_batch_tokens tokens, in place of the one before, finished or
  // not. steps and hooks must stay as they are until the batch is finished.
  void begin(std::span<const PlacedStep> steps, const ForwardHooks& hooks);

  // Runs the next piece: the attention half of a layer, its feed-forward half, or, after the last
  // layer, hidden rows and logits. False: that was the last one.
  bool advance();

  int64_t scratch_bytes() const { return static_cast<int64_t>(scratch_.size()); }

 private:
  ForwardPass(const ModelConfig& config,
              const ModelWeights& weights,
              const PassOptions& options,
              const OpContext& context,
              const PagePool* pool);

  Status allocate();
  void embed();
  void run_attention(size_t layer);
  void run_feed_forward(size_t layer);
  void report_selection(size_t layer);
  void report_hidden();

  const ModelWeights& weights_;
  const OpContext context_;
  const size_t max_rows_;
  const Twins twins_;  // of activations, that any weight reads
  Residual residual_;
  MlaDsaBlock attention_;
  Selection selection_;
  FeedForwardBlock feed_forward_;
  LogitsHead head_;
  AlignedBuffer scratch_;

  std::span<const PlacedStep> steps_;
  const ForwardHooks* hooks_ = nullptr;
  size_t n_run_ = 0;  // pieces
};

}  // namespace dsa
