// The tensors of a model that is trained, by role: declared from the configuration, read from a
// checkpoint or made from a seed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backprop/train_model.h"
#include "model/tensor_table.h"
#include "runtime/aligned_buffer.h"

namespace dsa::backprop {

struct MlpParameters {
  const Parameter* gate = nullptr;  // [inner, hidden]
  const Parameter* up = nullptr;    // [inner, hidden]
  const Parameter* down = nullptr;  // [hidden, inner]
};

struct IndexerParameters {
  const Parameter* wq_b = nullptr;  // [n_heads * dim, q_lora_rank]
  const Parameter* wk = nullptr;    // [dim, hidden]
  const Parameter* k_norm_weight = nullptr;
  const Parameter* k_norm_bias = nullptr;
  const Parameter* weights_proj = nullptr;  // [n_heads, hidden]
};

struct LayerParameters {
  const Parameter* input_norm = nullptr;
  const Parameter* post_attention_norm = nullptr;
  const Parameter* q_a = nullptr;  // [q_lora_rank, hidden]
  const Parameter* q_a_norm = nullptr;
  const Parameter* q_b = nullptr;   // [n_heads * d_q, q_lora_rank]
  const Parameter* kv_a = nullptr;  // [d_row, hidden]
  const Parameter* kv_a_norm = nullptr;
  const Parameter* kv_up = nullptr;  // [n_heads * (d_nope + d_v), d_latent]: W_UK, W_UV
  const Parameter* o = nullptr;      // [hidden, n_heads * d_v]
  IndexerParameters indexer;         // empty where the layer shares an earlier selection
  MlpParameters mlp;                 // the dense MLP, or the shared experts (null: none)
  const Parameter* router = nullptr;
  const Parameter* router_bias = nullptr;
  std::vector<MlpParameters> experts;
};

// Addresses of Parameters are stable.
class ParameterSet {
 public:
  // source: null: everything from the seed.
  static Result<std::unique_ptr<ParameterSet>> create(const ModelConfig& config,
                                                      const TrainModelOptions& options,
                                                      const TensorSource* source);

  std::span<const Parameter> all() const { return all_; }
  const Parameter* find(std::string_view name) const;
  int64_t memory_bytes() const;

  void zero_gradients();
  void round_weights();  // the bf16 twins, where there are any

  const Parameter* embedding = nullptr;
  const Parameter* lm_head = nullptr;  // the embedding, when they are tied
  const Parameter* final_norm = nullptr;
  std::vector<LayerParameters> layers;

 private:
  ParameterSet() = default;
  void declare(const ModelConfig& config);
  const Parameter* add(const ModelTensor& tensor);
  Status find_sources(const TrainModelOptions& options, const TensorSource* source);
  Status allocate(const TrainModelOptions& options);
  void fill(const ModelConfig& config, const TrainModelOptions& options);

  std::vector<Parameter> all_;
  std::vector<const TensorRow*> rows_;       // of each parameter
  std::vector<const StoredTensor*> stored_;  // of each parameter; null: made from the seed
  AlignedBuffer values_;
  AlignedBuffer gradients_;
  AlignedBuffer rounded_;
};

}  // namespace dsa::backprop
