// Configurations of small models of both families, with odd shapes.
#pragma once

#include <nlohmann/json.hpp>

namespace dsa {

inline nlohmann::json deepseek_config() {
  return {{"model_type", "deepseek_v32"},
          {"vocab_size", 97},
          {"hidden_size", 144},
          {"intermediate_size", 200},
          {"moe_intermediate_size", 40},
          {"num_hidden_layers", 3},
          {"first_k_dense_replace", 1},
          {"moe_layer_freq", 1},
          {"num_attention_heads", 5},
          {"num_key_value_heads", 5},
          {"q_lora_rank", 72},
          {"kv_lora_rank", 136},
          {"qk_nope_head_dim", 24},
          {"qk_rope_head_dim", 16},
          {"v_head_dim", 20},
          {"n_routed_experts", 12},
          {"n_shared_experts", 1},
          {"num_experts_per_tok", 3},
          {"n_group", 4},
          {"topk_group", 2},
          {"routed_scaling_factor", 1.7},
          {"norm_topk_prob", true},
          {"scoring_func", "sigmoid"},
          {"topk_method", "noaux_tc"},
          {"hidden_act", "silu"},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"rope_scaling",
           {{"type", "yarn"},
            {"factor", 8},
            {"beta_fast", 32},
            {"beta_slow", 1},
            {"mscale", 1.0},
            {"mscale_all_dim", 1.0},
            {"original_max_position_embeddings", 32}}},
          {"max_position_embeddings", 256},
          {"index_n_heads", 6},
          {"index_head_dim", 64},
          {"index_topk", 20},
          {"tie_word_embeddings", false}};
}

// GLM-5.x: both RoPEs interleaved, no YaRN, layers that share an earlier selection.
inline nlohmann::json glm_config() {
  nlohmann::json config = deepseek_config();
  config["model_type"] = "glm_moe_dsa";
  config["num_hidden_layers"] = 5;
  config["n_group"] = 1;
  config["topk_group"] = 1;
  config["rope_scaling"] = nullptr;
  config["rope_theta"] = 1000000.0;
  config["rms_norm_eps"] = 1e-5;
  config["indexer_rope_interleave"] = true;
  config["indexer_types"] = {"full", "full", "shared", "shared", "full"};
  return config;
}

// GLM-5.x as users extend its context: YaRN without mscale.
inline nlohmann::json glm_yarn_config() {
  nlohmann::json config = glm_config();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_type", "yarn"},
                               {"rope_theta", 1e6},
                               {"factor", 4},
                               {"original_max_position_embeddings", 32}};
  return config;
}

// Linear RoPE, and dense and sparse layers in turn.
inline nlohmann::json glm_linear_config() {
  nlohmann::json config = glm_config();
  config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.5}};
  config.erase("first_k_dense_replace");
  config["mlp_layer_types"] = {"sparse", "dense", "sparse", "dense", "sparse"};
  return config;
}

inline nlohmann::json with_fp8(nlohmann::json config) {
  config["quantization_config"] = {{"quant_method", "fp8"},
                                   {"fmt", "e4m3"},
                                   {"activation_scheme", "dynamic"},
                                   {"weight_block_size", {128, 128}}};
  return config;
}

}  // namespace dsa
