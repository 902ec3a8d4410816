// The published configurations, as their config.json files have them.
#include "dsa_measure/bench.h"

#include "common/status_macros.h"

namespace dsa {

namespace {

constexpr const char* kDeepSeekV32 = R"({
  "model_type": "deepseek_v32", "vocab_size": 129280, "hidden_size": 7168,
  "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61,
  "first_k_dense_replace": 3, "moe_layer_freq": 1, "num_attention_heads": 128,
  "num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
  "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 256, "n_shared_experts": 1,
  "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "routed_scaling_factor": 2.5,
  "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": true,
  "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048, "rms_norm_eps": 1e-6,
  "rope_theta": 10000, "max_position_embeddings": 163840, "hidden_act": "silu",
  "attention_bias": false, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
  "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
                   "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
  "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128],
                          "activation_scheme": "dynamic", "scale_fmt": "ue8m0"}})";

constexpr const char* kGlm5 = R"({
  "model_type": "glm_moe_dsa", "vocab_size": 154880, "hidden_size": 6144,
  "intermediate_size": 12288, "moe_intermediate_size": 2048, "num_hidden_layers": 78,
  "first_k_dense_replace": 3, "moe_layer_freq": 1, "num_attention_heads": 64,
  "num_key_value_heads": 64, "q_lora_rank": 2048, "kv_lora_rank": 512, "qk_nope_head_dim": 192,
  "qk_rope_head_dim": 64, "v_head_dim": 256, "n_routed_experts": 256, "n_shared_experts": 1,
  "num_experts_per_tok": 8, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.5,
  "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": true,
  "index_n_heads": 32, "index_head_dim": 128, "index_topk": 2048, "rms_norm_eps": 1e-5,
  "rope_interleave": true, "indexer_rope_interleave": true,
  "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
  "max_position_embeddings": 202752, "hidden_act": "silu", "attention_bias": false,
  "tie_word_embeddings": false, "eos_token_id": [154820, 154827, 154829],
  "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128],
                          "activation_scheme": "dynamic"}})";

}  // namespace

Result<ModelConfig> published_shape(const std::string& name) {
  if (name == "v32") return parse_model_config(kDeepSeekV32, "shape v32");
  if (name == "glm5") return parse_model_config(kGlm5, "shape glm5");
  return error(StatusCode::kNotFound, "shape \"{}\": want v32 or glm5", name);
}

}  // namespace dsa
