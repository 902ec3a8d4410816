// The attention half of a layer: from the residual stream through norms, projections, indexer,
// selection and multi-head latent attention back to the residual stream.
//
// All tokens of a batch go through the matrix products together; selection and attention run
// sequence by sequence over that sequence's pages.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/engine.h"
#include "dsa/model_config.h"

#include "cache/page_pool.h"
#include "model/weights.h"
#include "ops/indexer.h"
#include "ops/mla.h"
#include "ops/rows.h"
#include "runtime/scratch.h"

namespace dsa {

// One sequence's tokens, whose cache rows are reserved.
struct ForwardStep {
  std::span<const int32_t> tokens;
  int64_t first_position = 0;
  std::span<const int32_t> pages;
  LogitsWanted logits = LogitsWanted::kNone;
  bool selections = true;
};

// Activations are rounded for products with weights that are no wider themselves; a checkpoint in
// f32, or caches that are all f32, ask for f32 arithmetic.
bool rounds_to_bf16(const LayerWeights& layer, const EngineOptions& options);

class AttentionBlock {
 public:
  // options: resolved (no zeros that stand for defaults). config, pool and context's members must
  // outlive the object.
  AttentionBlock(const ModelConfig& config,
                 const EngineOptions& options,
                 const OpContext& context,
                 const PagePool* pool,
                 bool bf16);

  // Asks for the memory; call begin() only once it is there.
  void plan(ScratchPlan* plan);

  // Places the tokens of a batch: cache rows and RoPE angles, which hold for every layer.
  void begin(std::span<const ForwardStep> steps);

  // hidden [n_rows, hidden_size] += attention of layer `index`. normed: workspace of that shape.
  void run(std::span<const ForwardStep> steps,
           const LayerWeights& layer,
           size_t index,
           const ForwardHooks& hooks,
           float* hidden,
           const RowBuffer& normed);

  size_t n_rows() const { return n_rows_; }  // tokens of the batch
  // Of a step that begins at first_position, where it selects at all.
  bool scores_in_int8_first(int64_t first_position) const;

 private:
  // Whether any query of the batch has to choose. Keys are stored in any case: later ones will.
  bool needs_queries(std::span<const ForwardStep> steps, const ForwardHooks& hooks) const;
  void project_down(const LayerWeights& layer, bool indexed, bool selects, const RowBuffer& normed);
  void finish_latents(const LayerWeights& layer, size_t layer_index, bool indexed);
  void finish_index_key(const LayerWeights& layer, size_t layer_index, size_t token);
  void project_up(const LayerWeights& layer, bool selects);
  void rotate_queries(bool selects);
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

  const ModelConfig& config_;
  const EngineOptions options_;
  const OpContext context_;
  const PagePool* pool_;
  const bool bf16_;  // products may round activations to bf16
  MlaDims mla_;
  IndexerDims indexer_;
  SelectionRule rule_;
  std::vector<float> frequencies_;

  size_t n_rows_ = 0;
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
  IndexerScratch indexer_scratch_;
  MlaScratch mla_scratch_;
};

}  // namespace dsa
