// Training runs of a second or less.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "dsa/convert.h"
#include "dsa/train.h"

#include "tests/io/temp_dir.h"

namespace dsa::trainer {

inline std::string read_bytes(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

inline ModelConfig tiny_model() {
  ModelConfig config;
  config.model_type = "deepseek_v32";
  config.vocab_size = 264;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.n_layers = 2;
  config.n_heads = 2;
  config.q_lora_rank = 16;
  config.kv_lora_rank = 16;
  config.qk_nope_head_dim = 8;
  config.qk_rope_head_dim = 8;
  config.v_head_dim = 8;
  config.max_position = 128;
  config.indexer.n_heads = 2;
  config.indexer.head_dim = 16;
  config.indexer.top_k = 8;
  config.indexer.layers.assign(2, IndexerKind::kFull);
  config.moe.n_experts = 4;
  config.moe.n_shared_experts = 1;
  config.moe.n_experts_per_token = 2;
  config.moe.intermediate_size = 16;
  config.moe.first_dense_layers = 1;
  config.bos_token_id = 0;
  config.eos_token_ids = {1};
  return config;
}

// A folder with text, a tokenizer (one token per byte) and room for runs.
class TinyRuns {
 public:
  TinyRuns() {
    std::filesystem::create_directories(dir_.file("text"));
    for (int i = 0; i < 12; ++i) {
      std::string text;
      for (int j = 0; j < 20 + i; ++j)
        text +=
            "the cat sat on the mat and saw " + std::string(1, static_cast<char>('a' + i)) + ". ";
      dir_.write("text/" + std::to_string(i) + ".txt", text);
    }
    RandomCheckpointOptions options;
    options.type = WeightType::kF32;
    const Status made = write_random_checkpoint(tiny_model(), dir_.file("random"), options);
    EXPECT_TRUE(made.ok()) << made.message();
  }

  std::string file(const std::string& name) const { return dir_.file(name); }
  const TempDir& dir() const { return dir_; }

  TrainConfig config(const std::string& stage,
                     const std::string& output,
                     const std::vector<std::string>& more = {}) const {
    std::vector<std::string> changes = {"data.text=" + file("text"),
                                        "data.context=48",
                                        "batch.sequences=4",
                                        "batch.sequences_per_pass=2",
                                        "optimizer.steps=6",
                                        "optimizer.warmup_steps=1",
                                        "threads=1",
                                        "evaluate.sequences=2",
                                        "evaluate.every=3",
                                        "data.tokenizer=" + file("random")};
    if (stage == "pretrain") {
      for (const char* size :
           {"hidden=32", "layers=2", "heads=2", "q_lora_rank=16", "kv_lora_rank=16",
            "qk_nope_head_dim=8", "qk_rope_head_dim=8", "v_head_dim=8", "intermediate=48",
            "experts=4", "expert_intermediate=16"})
        changes.push_back(std::string("model.") + size);
      changes.insert(changes.end(), {"indexer.heads=2", "indexer.head_dim=16", "indexer.top_k=8"});
    }
    changes.insert(changes.end(), more.begin(), more.end());
    auto config = parse_train_config(
        "stage = \"" + stage + "\"\noutput = \"" + file(output) + "\"\n", "tiny", changes);
    EXPECT_TRUE(config.ok()) << config.status().message();
    return config.ok() ? *config : TrainConfig();
  }

 private:
  TempDir dir_;
};

inline TrainReport must_train(const TrainConfig& config, const TrainHooks& hooks = {}) {
  auto report = train(config, hooks);
  EXPECT_TRUE(report.ok()) << report.status().message();
  return report.ok() ? *report : TrainReport();
}

}  // namespace dsa::trainer
