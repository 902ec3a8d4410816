// The forward pass: a batch of sequence steps through every layer.
//
// All tokens of the batch go through a layer's matrix products together; attention runs sequence
// by sequence over that sequence's pages. Scratch is allocated once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "dsa/engine.h"
#include "dsa/model_config.h"

#include "cache/page_pool.h"
#include "cache/sequence.h"
#include "model/weights.h"
#include "ops/indexer.h"
#include "ops/mla.h"
#include "ops/mlp.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

// One sequence's tokens, whose cache rows are reserved.
struct ForwardStep {
  std::span<const int32_t> tokens;
  int64_t first_position = 0;
  std::span<const int32_t> pages;
  LogitsWanted logits = LogitsWanted::kNone;
};

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
  void plan_rows(ScratchPlan* plan);

  void place_tokens(std::span<const ForwardStep> steps);
  void embed(std::span<const ForwardStep> steps);
  void run_layer(std::span<const ForwardStep> steps, size_t layer, const ForwardHooks& hooks);
  void project_down(const LayerWeights& layer, bool indexed);
  void finish_latents(const LayerWeights& layer, size_t layer_index, bool indexed);
  void finish_index_key(const LayerWeights& layer, size_t layer_index, size_t token);
  void project_up(const LayerWeights& layer, bool indexed);
  void rotate_queries(bool indexed);
  SelectionLists select(const ForwardStep& step,
                        size_t first_row,
                        size_t layer,
                        bool indexed,
                        const ForwardHooks& hooks);
  void select_window(const ForwardStep& step, const SelectionLists& lists);
  void attend(const ForwardStep& step,
              size_t first_row,
              const LayerWeights& layer,
              size_t layer_index,
              const SelectionLists& lists);
  void report_selection(const ForwardStep& step,
                        size_t step_index,
                        size_t layer,
                        size_t first_row,
                        const SelectionLists& lists,
                        bool scored,
                        const ForwardHooks& hooks);
  void feed_forward(const LayerWeights& layer);
  void emit_logits(std::span<const ForwardStep> steps, const ForwardHooks& hooks);
  void normalise_rows(const std::vector<float>& weight);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const EngineOptions options_;
  const OpContext context_;
  const PagePool* pool_;
  const bool bf16_;  // products may round activations to bf16
  MlaDims mla_;
  IndexerDims indexer_;
  SelectionRule rule_;
  RouterConfig router_;
  std::vector<float> frequencies_;

  AlignedBuffer scratch_;
  size_t n_rows_ = 0;            // tokens of the current batch
  float* hidden_ = nullptr;      // [rows, hidden] residual stream
  RowBuffer normed_;             // [rows, hidden]
  RowBuffer q_latent_;           // [rows, q_lora_rank]
  RowBuffer q_;                  // [rows, n_heads * d_q]
  float* kv_ = nullptr;          // [rows, d_latent + d_rope]
  RowBuffer attention_;          // [rows, n_heads * d_v]
  float* index_q_ = nullptr;     // [rows, index heads * dim]
  float* index_key_ = nullptr;   // [rows, dim]
  float* index_gate_ = nullptr;  // [rows, index heads]
  float* cos_ = nullptr;         // [rows, d_rope / 2]
  float* sin_ = nullptr;
  int32_t* row_slot_ = nullptr;       // [rows] physical cache row of the token
  SelectionLists lists_;              // [rows, budget]
  float* list_scores_ = nullptr;      // [rows, budget]
  int32_t* all_positions_ = nullptr;  // 0, 1, 2, ... for selections that leave nothing out
  float* logits_ = nullptr;           // [logit rows, vocab]
  size_t logit_rows_ = 0;
  IndexerScratch indexer_scratch_;
  MlaScratch mla_scratch_;
  MlpScratch mlp_scratch_;
  MoeScratch moe_scratch_;
};

}  // namespace dsa
