// The description of a DSA model, read from a Hugging Face config.json and used by every part of
// the library. DeepSeek-V3.2 and GLM-5.x are values of it, not code.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

// Which elements of a head RoPE rotates as a pair.
enum class RopeLayout : uint8_t {
  kInterleaved,  // pairs (x[2i], x[2i+1])
  kHalfSplit     // pairs (x[i], x[i + d/2])
};

// What a layer's indexer does (GLM-5.2's schedule; DeepSeek-V3.2 has kFull everywhere).
enum class IndexerKind : uint8_t {
  kFull,   // scores and selects
  kShared  // has no indexer weights: reuses the selection of the nearest earlier full layer
};

// How RoPE's frequencies are stretched for contexts longer than those of training.
enum class RopeScaling : uint8_t {
  kNone,
  kLinear,  // all of them divided by the factor
  kYarn     // blended between stretched and not
};

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;  // at least 1, which scales nothing
  // YaRN: frequencies are blended over [beta_slow, beta_fast] turns within original_max_position,
  // whatever max_position_embeddings says, and the attention scale is multiplied by
  // (0.1 * mscale_all_dim * ln(factor) + 1)^2.
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 1.0;
  double mscale_all_dim = 0.0;
  int64_t original_max_position = 0;
  // YaRN: multiplies sine and cosine, of the main attention and of the indexer. Given, or
  // (0.1 mscale ln(factor) + 1) / (0.1 mscale_all_dim ln(factor) + 1) of two mscales, or
  // 0.1 ln(factor) + 1 without them.
  double attention_factor = 1.0;

  bool operator==(const RopeConfig&) const = default;
};

struct IndexerConfig {
  int64_t n_heads = 0;
  int64_t head_dim = 0;  // a power of two; RoPE rotates its first qk_rope_head_dim elements
  int64_t top_k = 0;
  RopeLayout rope_layout = RopeLayout::kHalfSplit;
  bool hadamard = true;
  double norm_eps = 1e-6;           // LayerNorm of the key
  std::vector<IndexerKind> layers;  // [n_layers]
};

struct MoeConfig {
  int64_t n_experts = 0;
  int64_t n_shared_experts = 0;
  int64_t n_experts_per_token = 0;
  int64_t intermediate_size = 0;  // of one expert
  int64_t n_groups = 1;
  int64_t top_k_groups = 1;
  double routed_scaling = 1.0;
  bool normalise_weights = true;   // divide the chosen weights by their sum
  int64_t first_dense_layers = 0;  // layers before this one have a dense MLP
  // The router's scores: each expert's sigmoid, or a softmax over all experts (DeepSeek-V2).
  bool softmax_scores = false;
  // A bias per expert (e_score_correction_bias) is added for the choice, and a group of experts is
  // ranked by the sum of its two best scores; without the bias by its best score.
  bool choice_bias = true;
  int64_t layer_freq = 1;  // from then on, every layer_freq-th layer is a mixture
  // [n_layers] which layers are mixtures, where those two numbers do not say it; else empty.
  std::vector<bool> layers;
};

struct ModelConfig {
  std::string model_type;  // "deepseek_v32", "glm_moe_dsa"; of parse_mla_config() also others
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;  // of a dense MLP
  int64_t n_layers = 0;
  int64_t n_nextn_layers = 0;  // multi-token-prediction layers in the checkpoint; not run
  int64_t n_heads = 0;
  int64_t q_lora_rank = 0;  // 0: queries are projected from the hidden state (parse_mla_config())
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;
  int64_t max_position = 0;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  RopeLayout rope_layout = RopeLayout::kInterleaved;  // of the main attention
  RopeConfig rope;
  IndexerConfig indexer;
  MoeConfig moe;
  bool fp8_weights = false;   // linear layers may be stored as e4m3 with 128 x 128 block scales
  int32_t bos_token_id = -1;  // -1: none
  std::vector<int32_t> eos_token_ids;
  // Fields that were ignored because ConfigOptions said so: "<file's name>: <field>".
  std::vector<std::string> ignored_fields;

  bool is_moe_layer(int64_t layer) const;

  // (d_nope + d_rope)^-0.5, times YaRN's factor when it is on.
  double softmax_scale() const;

  // True when the frequencies are YaRN's.
  bool yarn_active() const;
};

struct ConfigOptions {
  // Unknown fields are listed in ModelConfig::ignored_fields instead of being refused. They may
  // change what the model computes: for those who know that theirs do not.
  bool ignore_unknown_fields = false;
};

// Parses the text of a config.json. Every field is used, ignored because it does not affect the
// forward pass, or refused by name; null is as good as absent.
//   Errors  kCorruption (not JSON, wrong type, out of range), kUnsupported (a model or a field's
//           value this library does not run). The message starts with `name`, the file's name, and
//           tells the first problem and the number of others.
Result<ModelConfig> parse_model_config(const std::string& json,
                                       const std::string& name,
                                       const ConfigOptions& options = {});

// Every problem for which parse_model_config() refuses the text (at most 1,000); empty: none.
std::vector<Status> model_config_problems(const std::string& json,
                                          const std::string& name,
                                          const ConfigOptions& options = {});

// The same for an MLA model without an indexer (deepseek_v2, deepseek_v3): `indexer` is left empty
// then, and the library trains such a model's indexer but does not run it. Models with an indexer
// are read as by parse_model_config().
Result<ModelConfig> parse_mla_config(const std::string& json, const std::string& name);

// The text of a config.json that parse_model_config() reads as `config`. model_type must be one it
// runs. dtype: what torch_dtype says of the weights, e.g. "bfloat16".
std::string model_config_json(const ModelConfig& config, const std::string& dtype);

}  // namespace dsa

#pragma GCC visibility pop
