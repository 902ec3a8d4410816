#include <nlohmann/json.hpp>

#include "dsa/model_config.h"

namespace dsa {
namespace {

using nlohmann::ordered_json;

ordered_json rope_json(const RopeConfig& rope) {
  if (rope.scaling == RopeScaling::kNone) return nullptr;
  if (rope.scaling == RopeScaling::kLinear) return {{"type", "linear"}, {"factor", rope.factor}};
  ordered_json out = {{"type", "yarn"},
                      {"factor", rope.factor},
                      {"beta_fast", rope.beta_fast},
                      {"beta_slow", rope.beta_slow},
                      {"mscale", rope.mscale},
                      {"mscale_all_dim", rope.mscale_all_dim},
                      {"original_max_position_embeddings", rope.original_max_position}};
  const bool as_published = rope.mscale == rope.mscale_all_dim && rope.attention_factor == 1;
  if (!as_published) out["attention_factor"] = rope.attention_factor;
  return out;
}

void add_experts(const MoeConfig& moe, ordered_json* json) {
  ordered_json& out = *json;
  out["n_routed_experts"] = moe.n_experts;
  out["n_shared_experts"] = moe.n_shared_experts;
  out["num_experts_per_tok"] = moe.n_experts_per_token;
  out["moe_intermediate_size"] = moe.intermediate_size;
  out["n_group"] = moe.n_groups;
  out["topk_group"] = moe.top_k_groups;
  out["routed_scaling_factor"] = moe.routed_scaling;
  out["norm_topk_prob"] = moe.normalise_weights;
  out["first_k_dense_replace"] = moe.first_dense_layers;
  out["moe_layer_freq"] = moe.layer_freq;
  out["scoring_func"] = moe.softmax_scores ? "softmax" : "sigmoid";
  out["topk_method"] = moe.softmax_scores ? "group_limited_greedy" : "noaux_tc";
}

void add_layer_types(const ModelConfig& config, ordered_json* json) {
  if (config.moe.layers.empty()) return;
  auto types = ordered_json::array();
  for (const bool mixture : config.moe.layers)
    types.push_back(mixture ? "sparse" : "dense");
  (*json)["mlp_layer_types"] = std::move(types);
}

void add_indexer(const ModelConfig& config, ordered_json* json) {
  const IndexerConfig& indexer = config.indexer;
  ordered_json& out = *json;
  out["index_n_heads"] = indexer.n_heads;
  out["index_head_dim"] = indexer.head_dim;
  out["index_topk"] = indexer.top_k;
  out["indexer_rope_interleave"] = indexer.rope_layout == RopeLayout::kInterleaved;
  auto types = ordered_json::array();
  bool shared = false;
  for (const IndexerKind kind : indexer.layers) {
    shared = shared || kind == IndexerKind::kShared;
    types.push_back(kind == IndexerKind::kFull ? "full" : "shared");
  }
  if (shared) out["indexer_types"] = std::move(types);
}

const char* architecture_of(const std::string& model_type) {
  return model_type == "glm_moe_dsa" ? "GlmMoeDsaForCausalLM" : "DeepseekV32ForCausalLM";
}

}  // namespace

std::string model_config_json(const ModelConfig& config, const std::string& dtype) {
  ordered_json out;
  out["architectures"] = {architecture_of(config.model_type)};
  out["model_type"] = config.model_type;
  out["vocab_size"] = config.vocab_size;
  out["hidden_size"] = config.hidden_size;
  out["intermediate_size"] = config.intermediate_size;
  out["num_hidden_layers"] = config.n_layers;
  out["num_nextn_predict_layers"] = config.n_nextn_layers;
  out["num_attention_heads"] = config.n_heads;
  out["num_key_value_heads"] = config.n_heads;
  out["q_lora_rank"] = config.q_lora_rank;
  out["kv_lora_rank"] = config.kv_lora_rank;
  out["qk_nope_head_dim"] = config.qk_nope_head_dim;
  out["qk_rope_head_dim"] = config.qk_rope_head_dim;
  out["v_head_dim"] = config.v_head_dim;
  out["max_position_embeddings"] = config.max_position;
  out["rms_norm_eps"] = config.rms_norm_eps;
  out["rope_theta"] = config.rope.theta;
  out["rope_scaling"] = rope_json(config.rope);
  out["rope_interleave"] = config.rope_layout == RopeLayout::kInterleaved;
  out["tie_word_embeddings"] = config.tie_word_embeddings;
  out["hidden_act"] = "silu";
  out["attention_bias"] = false;
  add_indexer(config, &out);
  add_experts(config.moe, &out);
  add_layer_types(config, &out);
  if (config.bos_token_id >= 0) out["bos_token_id"] = config.bos_token_id;
  if (config.eos_token_ids.size() == 1) {
    out["eos_token_id"] = config.eos_token_ids[0];
  } else if (!config.eos_token_ids.empty()) {
    out["eos_token_id"] = config.eos_token_ids;
  }
  out["torch_dtype"] = dtype;
  if (config.fp8_weights) {
    out["quantization_config"] = {{"quant_method", "fp8"},
                                  {"fmt", "e4m3"},
                                  {"activation_scheme", "dynamic"},
                                  {"scale_fmt", "ue8m0"},
                                  {"weight_block_size", {128, 128}}};
  }
  return out.dump(2) + "\n";
}

}  // namespace dsa
