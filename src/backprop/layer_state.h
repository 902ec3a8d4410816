// Shapes of the model, and the memory of one batch: what the backward pass needs of each layer, and
// scratch that the layers share. All of it is allocated once and linear in the tokens of a batch.
#pragma once

#include <cstdint>
#include <vector>

#include "dsa/model_config.h"

#include "backprop/products.h"
#include "backprop/train_model.h"
#include "runtime/scratch.h"

namespace dsa::backprop {

struct TrainDims {
  size_t max_tokens = 0;
  size_t n_layers = 0;
  size_t vocab = 0;
  size_t hidden = 0;
  size_t q_rank = 0;
  size_t n_heads = 0;
  size_t d_latent = 0;
  size_t d_rope = 0;
  size_t d_nope = 0;
  size_t d_v = 0;
  size_t index_heads = 0;
  size_t index_dim = 0;
  size_t top_k = 0;
  float scale = 0;  // of the attention's logits
  float eps = 0;    // of the RMS norms

  size_t d_q() const { return d_nope + d_rope; }
  size_t d_row() const { return d_latent + d_rope; }
  size_t d_kv() const { return d_nope + d_v; }  // of one head, expanded
};

TrainDims train_dims(const ModelConfig& config, const TrainModelOptions& options);

// The documents of a batch, cut into tiles of queries that do not cross a boundary.
struct QueryTile {
  size_t begin = 0;     // first token
  size_t n = 0;         // queries
  size_t document = 0;  // first token of their document
};

struct BatchLayout {
  size_t n_tokens = 0;
  std::vector<DocumentSpan> documents;

  std::vector<QueryTile> tiles(size_t rows) const;
};

// The rows that queries attend to: positions counted from the start of the batch, ascending.
struct SelectedRows {
  int32_t* rows = nullptr;    // [max_tokens, stride]
  int32_t* counts = nullptr;  // [max_tokens]
  size_t stride = 0;

  const int32_t* of(size_t query) const { return rows + query * stride; }
  size_t count(size_t query) const { return static_cast<size_t>(counts[query]); }
};

// [max_tokens, ...] each; `saved` is what a layer keeps when the rest is computed again.
struct LayerState {
  float* input = nullptr;   // hidden; saved
  float* normed = nullptr;  // hidden
  float* q_low = nullptr;   // q_rank, before its norm
  float* c_q = nullptr;     // q_rank
  float* kv_low = nullptr;  // d_row: latent before its norm, rope key after RoPE
  float* rows = nullptr;    // d_row: latent and rope key as attention sees them
  float* q = nullptr;       // n_heads * d_q after RoPE

  // Dense attention, expanded form.
  float* keys = nullptr;      // n_heads * d_q
  float* expanded = nullptr;  // n_heads * (d_nope + d_v), as kv_b gives it
  // Attention over selected rows, absorbed form.
  float* absorbed_q = nullptr;    // n_heads * d_row
  float* absorbed_out = nullptr;  // n_heads * d_latent
  SelectedRows selected;          // saved

  float* attention = nullptr;  // n_heads * d_v; saved
  float* lse = nullptr;        // n_heads; saved
  float* middle = nullptr;     // hidden: the residual after attention; saved
  float* post_normed = nullptr;

  float* gate = nullptr;  // inner of the dense MLP or the shared experts
  float* up = nullptr;
  float* router = nullptr;          // n_experts: probabilities
  int32_t* experts = nullptr;       // n_chosen; saved
  float* expert_weights = nullptr;  // n_chosen
  int32_t* order = nullptr;         // n_chosen: (token, slot) pairs, expert by expert
  int32_t* starts = nullptr;        // [n_experts + 1]
  float* expert_gate = nullptr;     // n_chosen * inner of an expert, in that order
  float* expert_up = nullptr;
};

// Scratch of one layer at a time.
struct SharedState {
  float* cos = nullptr;  // d_rope / 2
  float* sin = nullptr;
  float* minus_sin = nullptr;
  float* hidden = nullptr;  // hidden: the residual stream
  float* inner = nullptr;   // widest MLP: silu(gate) * up
  float* d_inner = nullptr;
  float* expert_input = nullptr;   // n_chosen * hidden
  float* expert_output = nullptr;  // n_chosen * hidden
  float* expert_inner = nullptr;   // n_chosen * inner
  float* d_expert_inner = nullptr;

  float* index_q = nullptr;     // index_heads * index_dim
  float* index_low = nullptr;   // index_dim: keys before their norm
  float* index_key = nullptr;   // index_dim
  float* index_gate = nullptr;  // index_heads
  float* d_index_q = nullptr;
  float* d_index_key = nullptr;        // index_dim
  float* d_index_key_parts = nullptr;  // [threads] of it
  float* d_index_gate = nullptr;
  float* index_rows = nullptr;  // [threads, index_tile(), max_tokens] scores

  // Backward.
  float* d_hidden = nullptr;          // hidden
  float* d_normed = nullptr;          // hidden
  float* d_attention = nullptr;       // n_heads * d_v
  float* d_q = nullptr;               // n_heads * d_q
  float* d_keys = nullptr;            // n_heads * d_q
  float* d_expanded = nullptr;        // n_heads * (d_nope + d_v)
  float* d_absorbed_q = nullptr;      // n_heads * d_row
  float* d_absorbed_out = nullptr;    // n_heads * d_latent
  float* d_row_parts = nullptr;       // [threads] d_row
  float* d_rows = nullptr;            // d_row
  float* d_kv_low = nullptr;          // d_row
  float* d_c_q = nullptr;             // q_rank
  float* d_q_low = nullptr;           // q_rank
  float* delta = nullptr;             // n_heads
  float* d_router = nullptr;          // n_experts
  float* d_expert_weights = nullptr;  // n_chosen

  float* norm_parts = nullptr;   // [threads, 2, widest norm]
  double* row_loss = nullptr;    // [max_tokens] of a row or a tile
  float* logits = nullptr;       // [logit_rows, vocab] of the head
  float* head_normed = nullptr;  // hidden
  size_t logit_rows = 0;
  uint8_t* top_k = nullptr;  // [threads, top_k_bytes]
  size_t top_k_bytes = 0;
  uint8_t* worker = nullptr;  // [threads, worker_bytes] of attention and the head
  size_t worker_bytes = 0;
};

inline constexpr size_t kDenseQueries = 96;  // a tile of dense attention
inline constexpr size_t kDenseKeys = 256;
inline constexpr size_t kIndexTile = 96;  // queries whose index scores exist at a time, per thread
inline constexpr size_t kIndexKeys = 128;
inline constexpr size_t kSparseQueries = 8;  // queries of one work item

struct ModelState {
  std::vector<LayerState> layers;
  LayerState evaluation;  // the lists of its selection belong to whoever evaluates
  SharedState shared;
  AlignedBuffer memory;

  Status allocate(const ModelConfig& config,
                  const TrainModelOptions& options,
                  const TrainDims& dims,
                  const TrainContext& context);
};

}  // namespace dsa::backprop
