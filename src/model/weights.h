// The tensors of a checkpoint, by role. Matrices are views into the mapped file; norm weights,
// biases and scales, which are small, are f32 copies.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/model_config.h"
#include "dsa/status.h"

#include "io/tensor_source.h"
#include "ops/mla.h"
#include "ops/mlp.h"
#include "tensor/weight.h"

namespace dsa {

struct IndexerWeights {
  Weight wq_b;          // [n_heads * head_dim, q_lora_rank]
  Weight wk;            // [head_dim, hidden]
  Weight weights_proj;  // [n_heads, hidden]
  std::vector<float> k_norm_weight;
  std::vector<float> k_norm_bias;
};

struct LayerWeights {
  std::vector<float> input_norm;
  std::vector<float> post_attention_norm;
  Weight q_a;  // [q_lora_rank, hidden]
  std::vector<float> q_a_norm;
  Weight q_b;   // [n_heads * (d_nope + d_rope), q_lora_rank]
  Weight kv_a;  // [kv_lora_rank + d_rope, hidden]
  std::vector<float> kv_a_norm;
  MlaWeights kv_up;        // W_UK and W_UV of every head
  Weight o;                // [hidden, n_heads * d_v]
  IndexerWeights indexer;  // empty where the layer shares an earlier selection
  bool is_moe = false;
  MlpWeights mlp;  // the dense MLP, or the shared experts (gate.data null: there are none)
  Weight router;
  std::vector<float> router_bias;  // empty: the router has none
  std::vector<MlpWeights> experts;
  DTypeSet expert_input_types = {};  // of their gate and up
  DTypeSet expert_inner_types = {};  // of their down
};

// The twins of activations that products with a layer's weights read; not the router's and the
// indexer's gates, which decide and are always in f32.
Twins read_by(const OpContext& context, const LayerWeights& layer);

struct ModelWeights {
  Weight embedding;  // [vocab, hidden]
  Weight lm_head;    // [vocab, hidden]
  std::vector<float> final_norm;
  std::vector<LayerWeights> layers;
  std::deque<std::vector<float>> scales;  // storage behind the matrices' scale pointers
  int64_t n_bytes = 0;                    // of every tensor used
  int64_t n_parameters = 0;
};

struct LoadedWeights {
  ModelWeights weights;
  std::vector<Status> problems;             // tensors that are missing or not as wanted
  std::set<std::string, std::less<>> used;  // names of the tensors looked up
};

// Looks up and checks every tensor the configuration asks for, up to the problem number
// max_problems: a small hostile configuration may ask for hundreds of millions. The weights may be
// used only when there is no problem, and as long as the source lives.
LoadedWeights load_weights(const ModelConfig& config,
                           const TensorSource& source,
                           size_t max_problems = 1);

// The attention half of one layer alone, as the only layer of the result.
LoadedWeights load_attention(const ModelConfig& config, const TensorSource& source, int64_t layer);

}  // namespace dsa
