// Multi-head latent attention over the tokens that a lightning indexer selects (DeepSeek-V3.2,
// GLM-5.x): projections, latent and indexer key into the cache, indexer, attention, output.
//
// All tokens of a batch go through the matrix products together; selection and attention run
// sequence by sequence over that sequence's pages.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/model_config.h"

#include "cache/page_pool.h"
#include "layers/attention.h"
#include "layers/pass_options.h"
#include "layers/rope.h"
#include "ops/indexer.h"
#include "ops/mla.h"
#include "ops/rows.h"

namespace dsa {

class MlaDsaBlock final : public AttentionBlock {
 public:
  // options: resolved (no zeros that stand for defaults). config, pool and context's members must
  // outlive the object. The pool has the planes of pool_options(). twins: all that
  // the weights of any layer read.
  MlaDsaBlock(const ModelConfig& config,
              const PassOptions& options,
              const OpContext& context,
              const PagePool* pool,
              Twins twins);

  void plan(ScratchPlan* plan) override;
  void begin(std::span<const PlacedStep> steps) override;
  Twins input_twins(const LayerWeights& weights) const override;
  void run(size_t index,
           const LayerWeights& weights,
           const Activation& x,
           Selection* selection,
           const BlockOutput& y) override;

  // Of a step that begins at first_position, where it selects at all.
  bool scores_in_int8_first(int64_t first_position) const;

 private:
  // What run() is called with, and what follows from it.
  struct Layer {
    size_t index;
    const LayerWeights& weights;
    bool indexed;  // stores indexer keys, and selects where there is a choice
    bool selects;  // a query of the batch has to choose
  };

  // A layer's part of the cache.
  struct Planes {
    PlaneView latents;
    PlaneView keys;  // without memory where the layer stores none
  };

  void project_down(const Layer& layer, const Activation& x);
  void finish_latents(const Layer& layer);
  void finish_index_key(const Layer& layer, size_t token);
  void project_up(const Layer& layer);
  void rotate_queries(const Layer& layer);
  Twins query_latent_twins(const Layer& layer) const;
  void select(const Layer& layer, size_t step, size_t first_row, Selection* selection);
  void attend(const Layer& layer,
              const PlacedStep& step,
              size_t first_row,
              const SelectionLists& lists);
  void project_output(const Layer& layer, const BlockOutput& y);

  const ModelConfig& config_;
  const PassOptions options_;
  const OpContext context_;
  const size_t max_context_;
  const Twins twins_;
  MlaDims mla_;
  LatentLayout latent_layout_;
  IndexerDims indexer_;
  std::vector<Planes> planes_;  // [layers]
  SelectionRule rule_;
  RopeTable rope_;

  std::span<const PlacedStep> steps_;
  size_t n_rows_ = 0;            // tokens of the batch
  RowBuffer q_latent_;           // [rows, q_lora_rank]
  RowBuffer q_;                  // [rows, n_heads * d_q]
  float* kv_ = nullptr;          // [rows, d_latent + d_rope]
  RowBuffer attention_;          // [rows, n_heads * d_v]
  float* index_q_ = nullptr;     // [rows, index heads * dim]
  float* index_key_ = nullptr;   // [rows, dim]
  float* index_gate_ = nullptr;  // [rows, index heads]
  float* cos_ = nullptr;         // [rows, d_rope / 2]
  float* sin_ = nullptr;
  int32_t* row_slot_ = nullptr;  // [rows] physical cache row of the token
  IndexerScratch indexer_scratch_;
  MlaScratch mla_scratch_;
};

}  // namespace dsa
