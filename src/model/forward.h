// The forward pass: a batch of sequence steps through every layer.
//
// All tokens of the batch go through a layer together. Scratch is allocated once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "dsa/engine.h"
#include "dsa/model_config.h"

#include "cache/page_pool.h"
#include "model/attention_block.h"
#include "model/weights.h"
#include "ops/mlp.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

class ForwardPass {
 public:
  // options: resolved (no zeros that stand for defaults). config, weights, pool and context's
  // members must outlive the object.
  static Result<std::unique_ptr<ForwardPass>> create(const ModelConfig& config,
                                                     const ModelWeights& weights,
                                                     const EngineOptions& options,
                                                     const OpContext& context,
                                                     const PagePool* pool);

  // Tokens in all: at most options.max_batch_tokens.
  void run(std::span<const ForwardStep> steps, const ForwardHooks& hooks);

  int64_t scratch_bytes() const { return static_cast<int64_t>(scratch_.size()); }

 private:
  ForwardPass(const ModelConfig& config,
              const ModelWeights& weights,
              const EngineOptions& options,
              const OpContext& context,
              const PagePool* pool);

  Status allocate();
  void embed(std::span<const ForwardStep> steps);
  void feed_forward(const LayerWeights& layer);
  void emit_logits(std::span<const ForwardStep> steps, const ForwardHooks& hooks);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const EngineOptions options_;
  const OpContext context_;
  const bool bf16_;  // products may round activations to bf16
  AttentionBlock attention_;
  RouterConfig router_;

  AlignedBuffer scratch_;
  float* hidden_ = nullptr;  // [rows, hidden] residual stream
  RowBuffer normed_;         // [rows, hidden]
  float* logits_ = nullptr;  // [logit rows, vocab]
  size_t logit_rows_ = 0;
  MlpScratch mlp_scratch_;
  MoeScratch moe_scratch_;
};

}  // namespace dsa
