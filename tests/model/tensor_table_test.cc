// The table of tensors against checkpoints: it lists their names, all of them and no others.
#include "model/tensor_table.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "io/open_source.h"
#include "model/weights.h"

namespace dsa {
namespace {

std::set<std::string> wanted_names(const ModelConfig& config) {
  std::set<std::string> names;
  for_each_tensor(config, [&names](const ModelTensor& tensor) {
    EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name << " twice";
    return true;
  });
  return names;
}

ModelConfig small_config() {
  ModelConfig config;
  config.vocab_size = 8;
  config.hidden_size = 4;
  config.intermediate_size = 6;
  config.n_layers = 2;
  config.n_heads = 1;
  config.q_lora_rank = 3;
  config.kv_lora_rank = 5;
  config.qk_nope_head_dim = 2;
  config.qk_rope_head_dim = 2;
  config.v_head_dim = 2;
  config.indexer.n_heads = 1;
  config.indexer.head_dim = 2;
  config.indexer.layers = {IndexerKind::kFull, IndexerKind::kShared};
  config.moe.n_experts = 3;
  config.moe.n_shared_experts = 1;
  config.moe.intermediate_size = 7;
  config.moe.first_dense_layers = 1;
  return config;
}

class OfCheckpoint : public testing::TestWithParam<const char*> {};

TEST_P(OfCheckpoint, ListsExactlyTheNamesOfTheFile) {
  const auto source = open_model_source(std::string(DSA_SOURCE_DIR) + GetParam());
  ASSERT_TRUE(source.ok()) << source.status().message();
  const auto config = parse_model_config(source->config_text, source->config_path);
  ASSERT_TRUE(config.ok()) << config.status().message();
  std::set<std::string> stored;
  for (const SourceFile& file : source->tensors->files()) {
    for (const StoredTensor& tensor : file.tensors) {
      if (!tensor.name.ends_with("_scale_inv")) stored.insert(tensor.name);
    }
  }
  EXPECT_EQ(wanted_names(*config), stored);
}

INSTANTIATE_TEST_SUITE_P(TensorTable,
                         OfCheckpoint,
                         testing::Values("/models/dsa-13m", "/tests/checkpoints/baby-v32"));

TEST(TensorTable, HasOneRowPerRoleInTheirOrder) {
  size_t role = 0;
  for (const TensorRow& row : tensor_table())
    EXPECT_EQ(static_cast<size_t>(row.role), role++) << row.name;
}

TEST(TensorTable, FindsTheRowOfEveryNameItMakes) {
  for_each_tensor(small_config(), [](const ModelTensor& tensor) {
    EXPECT_EQ(find_tensor_row(tensor.name), tensor.row) << tensor.name;
    return true;
  });
  for (const char* name : {"", "model.layers.", "model.layers.x.input_layernorm.weight",
                           "model.layers.0.eh_proj.weight", "input_layernorm.weight",
                           "model.layers.0.mlp.experts.gate_proj.weight",
                           "model.layers.0.mlp.experts.1", "model.layers.1.gate_proj.weight"}) {
    EXPECT_EQ(find_tensor_row(name), nullptr) << name;
  }
}

TEST(TensorTable, KeepsAnExpertsTensorsTogetherAndStopsWhenToldTo) {
  std::vector<std::string> names;
  const bool whole = for_each_tensor(small_config(), [&names](const ModelTensor& tensor) {
    if (tensor.expert >= 0) names.push_back(tensor.name.substr(15));
    return names.size() < 4;
  });
  EXPECT_FALSE(whole);
  EXPECT_THAT(names, testing::ElementsAre(
                         "mlp.experts.0.gate_proj.weight", "mlp.experts.0.up_proj.weight",
                         "mlp.experts.0.down_proj.weight", "mlp.experts.1.gate_proj.weight"));
}

TEST(TensorTable, LeavesOutWhatAModelLacks) {
  ModelConfig config = small_config();
  const std::set<std::string> full = wanted_names(config);
  EXPECT_TRUE(full.contains("model.layers.0.self_attn.indexer.wk.weight"));
  EXPECT_FALSE(full.contains("model.layers.1.self_attn.indexer.wk.weight"));
  EXPECT_FALSE(full.contains("model.layers.0.self_attn.q_proj.weight"));
  config.q_lora_rank = 0;
  config.tie_word_embeddings = true;
  config.moe.choice_bias = false;
  config.moe.n_shared_experts = 0;
  const std::set<std::string> less = wanted_names(config);
  EXPECT_TRUE(less.contains("model.layers.0.self_attn.q_proj.weight"));
  for (const char* name : {"lm_head.weight", "model.layers.0.self_attn.q_a_proj.weight",
                           "model.layers.1.mlp.gate.e_score_correction_bias",
                           "model.layers.1.mlp.shared_experts.up_proj.weight"}) {
    EXPECT_TRUE(full.contains(name)) << name;
    EXPECT_FALSE(less.contains(name)) << name;
  }
}

TEST(TensorTable, AllowsE4m3OnlyForLinearLayersOfModelsThatSaySo) {
  ModelConfig config = small_config();
  EXPECT_FALSE(allowed_types(config, TensorKind::kLinear).contains(DType::kE4M3));
  config.fp8_weights = true;
  EXPECT_TRUE(allowed_types(config, TensorKind::kLinear).contains(DType::kE4M3));
  for (const TensorKind kind : {TensorKind::kMatrix, TensorKind::kNorm, TensorKind::kBias}) {
    EXPECT_FALSE(allowed_types(config, kind).contains(DType::kE4M3));
    EXPECT_TRUE(allowed_types(config, kind).contains(DType::kF16));
  }
}

}  // namespace
}  // namespace dsa
