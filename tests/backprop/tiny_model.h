// Small random checkpoints and batches for the trainer's tests.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <random>

#include "backprop/train_model.h"
#include "io/checkpoint.h"
#include "tests/engine/synthetic.h"

namespace dsa::backprop {

// Every extent is odd where it may be.
inline nlohmann::json tiny_config() {
  return {{"model_type", "deepseek_v32"},
          {"vocab_size", 37},
          {"hidden_size", 22},
          {"intermediate_size", 27},
          {"moe_intermediate_size", 9},
          {"num_hidden_layers", 3},
          {"first_k_dense_replace", 1},
          {"moe_layer_freq", 1},
          {"num_attention_heads", 3},
          {"num_key_value_heads", 3},
          {"q_lora_rank", 13},
          {"kv_lora_rank", 10},
          {"qk_nope_head_dim", 7},
          {"qk_rope_head_dim", 4},
          {"v_head_dim", 5},
          {"n_routed_experts", 6},
          {"n_shared_experts", 1},
          {"num_experts_per_tok", 2},
          {"n_group", 3},
          {"topk_group", 2},
          {"routed_scaling_factor", 1.7},
          {"norm_topk_prob", true},
          {"scoring_func", "sigmoid"},
          {"topk_method", "noaux_tc"},
          {"hidden_act", "silu"},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"rope_scaling", nullptr},
          {"max_position_embeddings", 4096},
          {"index_n_heads", 3},
          {"index_head_dim", 8},
          {"index_topk", 6},
          {"tie_word_embeddings", false}};
}

// Both RoPEs interleaved, the second layer shares the first's selection, plain routing.
inline nlohmann::json tiny_glm_config() {
  nlohmann::json config = tiny_config();
  config["model_type"] = "glm_moe_dsa";
  config["n_group"] = 1;
  config["topk_group"] = 1;
  config["norm_topk_prob"] = false;
  config["indexer_rope_interleave"] = true;
  config["indexer_types"] = {"full", "shared", "full"};
  return config;
}

// A checkpoint in a folder of its own for the life of the object.
class TinyModel {
 public:
  explicit TinyModel(const nlohmann::json& config, DType matrices = DType::kF32, uint32_t seed = 7)
      : dir_(testing::TempDir() + "dsa_train_" + std::to_string(getpid()) + "_" +
             std::to_string(counter_++)),
        synthetic_(config, matrices, seed) {
    const auto parsed = parse_model_config(config.dump(), "config.json");
    EXPECT_TRUE(parsed.ok()) << parsed.status().message();
    synthetic_.write(dir_);
    checkpoint_ = std::make_unique<Checkpoint>(Checkpoint::open(dir_).value());
    config_ = *parsed;
  }
  ~TinyModel() { std::filesystem::remove_all(dir_); }
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  const ModelConfig& config() const { return config_; }
  const Tensors& tensors() const { return synthetic_.tensors(); }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const std::string& dir() const { return dir_; }

  std::unique_ptr<TrainModel> open(const TrainModelOptions& options, ThreadPool* pool) const {
    auto model = TrainModel::create(config_, options, *checkpoint_, pool);
    EXPECT_TRUE(model.ok()) << model.status().message();
    return model.ok() ? std::move(model).value() : nullptr;
  }

 private:
  static inline int counter_ = 0;
  std::string dir_;
  SyntheticCheckpoint synthetic_;
  std::unique_ptr<Checkpoint> checkpoint_;
  ModelConfig config_;
};

// Documents of random tokens, packed.
struct TinyBatch {
  std::vector<int32_t> tokens;
  std::vector<DocumentSpan> documents;

  TinyBatch(const std::vector<int64_t>& lengths, int32_t vocab, uint32_t seed) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int32_t> token(0, vocab - 1);
    for (const int64_t length : lengths) {
      const auto begin = static_cast<int64_t>(tokens.size());
      documents.push_back({begin, begin + length});
      for (int64_t i = 0; i < length; ++i)
        tokens.push_back(token(random));
    }
  }

  TrainBatch view() const {
    TrainBatch batch;
    batch.tokens = tokens;
    batch.documents = documents;
    return batch;
  }
};

}  // namespace dsa::backprop
