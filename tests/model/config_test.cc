#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "dsa/model_config.h"

namespace dsa {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kDir = DSA_SOURCE_DIR "/tests/fuzz/corpus/config/";

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

json deepseek() {
  return json::parse(read_file(std::string(kDir) + "deepseek_v32.json"));
}
json glm() {
  return json::parse(read_file(std::string(kDir) + "glm_52.json"));
}

Result<ModelConfig> parse(const json& config) {
  return parse_model_config(config.dump(), "c");
}

// The configuration with one field replaced; "a.b" names a field of an object.
json with(json config, std::string field, json value) {
  std::replace(field.begin(), field.end(), '.', '/');
  config[json::json_pointer("/" + field)] = std::move(value);
  return config;
}

json without(json config, const std::string& field) {
  config.erase(field);
  return config;
}

ModelConfig must_parse(const json& config) {
  auto parsed = parse(config);
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return parsed.ok() ? std::move(parsed).value() : ModelConfig{};
}

std::string kinds_text(const ModelConfig& config) {
  std::string text;
  for (const IndexerKind kind : config.indexer.layers) {
    text += kind == IndexerKind::kFull ? 'F' : 'S';
  }
  return text;
}

TEST(ModelConfig, ReadsDeepSeekV32) {
  const ModelConfig config = must_parse(deepseek());
  EXPECT_EQ(config.model_type, "deepseek_v32");
  EXPECT_EQ(config.vocab_size, 129280);
  EXPECT_EQ(config.hidden_size, 7168);
  EXPECT_EQ(config.intermediate_size, 18432);
  EXPECT_EQ(config.n_layers, 61);
  EXPECT_EQ(config.n_nextn_layers, 1);
  EXPECT_EQ(config.n_heads, 128);
  EXPECT_EQ(config.q_lora_rank, 1536);
  EXPECT_EQ(config.kv_lora_rank, 512);
  EXPECT_EQ(config.qk_nope_head_dim, 128);
  EXPECT_EQ(config.qk_rope_head_dim, 64);
  EXPECT_EQ(config.v_head_dim, 128);
  EXPECT_EQ(config.max_position, 163840);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.rope_layout, RopeLayout::kInterleaved);
  EXPECT_TRUE(config.fp8_weights);
  EXPECT_EQ(config.bos_token_id, 0);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1));
}

TEST(ModelConfig, ReadsTheIndexerExpertsAndRopeOfDeepSeekV32) {
  const ModelConfig config = must_parse(deepseek());
  EXPECT_EQ(config.indexer.n_heads, 64);
  EXPECT_EQ(config.indexer.head_dim, 128);
  EXPECT_EQ(config.indexer.top_k, 2048);
  EXPECT_EQ(config.indexer.rope_layout, RopeLayout::kHalfSplit);
  EXPECT_TRUE(config.indexer.hadamard);
  EXPECT_EQ(config.indexer.norm_eps, 1e-6);
  EXPECT_EQ(kinds_text(config), std::string(61, 'F'));
  EXPECT_EQ(config.moe.n_experts, 256);
  EXPECT_EQ(config.moe.n_shared_experts, 1);
  EXPECT_EQ(config.moe.n_experts_per_token, 8);
  EXPECT_EQ(config.moe.intermediate_size, 2048);
  EXPECT_EQ(config.moe.n_groups, 8);
  EXPECT_EQ(config.moe.top_k_groups, 4);
  EXPECT_EQ(config.moe.routed_scaling, 2.5);
  EXPECT_TRUE(config.moe.normalise_weights);
  EXPECT_EQ(config.moe.first_dense_layers, 3);
  EXPECT_EQ(config.rope.theta, 10000);
  EXPECT_EQ(config.rope.factor, 40);
  EXPECT_EQ(config.rope.original_max_position, 4096);
  EXPECT_FALSE(config.is_moe_layer(2));
  EXPECT_TRUE(config.is_moe_layer(3));
}

TEST(ModelConfig, ReadsGlm52) {
  const ModelConfig config = must_parse(glm());
  EXPECT_EQ(config.model_type, "glm_moe_dsa");
  EXPECT_EQ(config.n_heads, 64);
  EXPECT_EQ(config.qk_nope_head_dim, 192);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.rope.theta, 8e6);
  EXPECT_FALSE(config.yarn_active());
  EXPECT_EQ(config.rope_layout, RopeLayout::kInterleaved);
  EXPECT_EQ(config.indexer.rope_layout, RopeLayout::kInterleaved);
  EXPECT_EQ(config.indexer.norm_eps, 1e-6);
  EXPECT_FALSE(config.fp8_weights);
  EXPECT_EQ(config.bos_token_id, -1);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(154820, 154827, 154829));
}

TEST(ModelConfig, GivesTheSoftmaxScaleOfEachModel) {
  // 1 / sqrt(192) times (0.1 ln 40 + 1)^2, by hand.
  EXPECT_NEAR(must_parse(deepseek()).softmax_scale(), 0.1352337788, 1e-10);
  EXPECT_EQ(must_parse(glm()).softmax_scale(), 0.0625);
  EXPECT_NEAR(must_parse(with(deepseek(), "rope_scaling", nullptr)).softmax_scale(), 0.0721687836,
              1e-10);
}

TEST(ModelConfig, HasYarnWheneverItsFactorIsAboveOne) {
  EXPECT_TRUE(must_parse(deepseek()).yarn_active());
  EXPECT_TRUE(must_parse(with(deepseek(), "max_position_embeddings", 4096)).yarn_active());
  EXPECT_TRUE(must_parse(with(deepseek(), "max_position_embeddings", 100)).yarn_active());
  EXPECT_FALSE(must_parse(with(deepseek(), "rope_scaling.factor", 1)).yarn_active());
}

TEST(ModelConfig, ReadsYarnUnderEitherNameOfItsType) {
  json config = deepseek();
  config["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 4},
                               {"mscale", 0.5},       {"mscale_all_dim", 0.5},
                               {"rope_theta", 5e5},   {"original_max_position_embeddings", 128}};
  config.erase("rope_scaling");
  config.erase("rope_theta");
  const ModelConfig parsed = must_parse(config);
  EXPECT_EQ(parsed.rope.theta, 5e5);
  EXPECT_EQ(parsed.rope.factor, 4);
  EXPECT_EQ(parsed.rope.beta_fast, 32);
  EXPECT_EQ(parsed.rope.mscale_all_dim, 0.5);
  EXPECT_EQ(parsed.rope.attention_factor, 1);
  EXPECT_TRUE(parsed.yarn_active());
}

// GLM-5 with a longer context: no mscale, so that sine and cosine carry YaRN's own factor.
json stretched_glm() {
  return with(glm(), "rope_parameters",
              {{"rope_type", "yarn"},
               {"rope_theta", 8e6},
               {"factor", 4},
               {"original_max_position_embeddings", 202752}});
}

TEST(ModelConfig, ReadsYarnWithoutMscale) {
  const ModelConfig config = must_parse(stretched_glm());
  EXPECT_TRUE(config.yarn_active());
  EXPECT_DOUBLE_EQ(config.rope.attention_factor, 1 + 0.1 * std::log(4.0));
  EXPECT_EQ(config.softmax_scale(), 0.0625);
  EXPECT_EQ(must_parse(with(stretched_glm(), "rope_parameters.attention_factor", 1.5))
                .rope.attention_factor,
            1.5);
}

TEST(ModelConfig, DividesTheFactorsOfTwoMscales) {
  const ModelConfig config = must_parse(with(deepseek(), "rope_scaling.mscale", 0.7));
  EXPECT_DOUBLE_EQ(config.rope.attention_factor,
                   (0.07 * std::log(40.0) + 1) / (0.1 * std::log(40.0) + 1));
  EXPECT_EQ(config.softmax_scale(), must_parse(deepseek()).softmax_scale());
}

TEST(ModelConfig, RefusesMscalesThatProgramsReadDifferently) {
  for (const auto& [field, value] : {std::pair("mscale", 0.7), std::pair("mscale_all_dim", 1.0)}) {
    json config = stretched_glm();
    config["rope_parameters"][field] = value;
    EXPECT_THAT(parse(config).status().message(),
                StartsWith("c: rope_parameters." + std::string(field)));
    config["rope_parameters"]["attention_factor"] = 1.0;
    EXPECT_TRUE(parse(config).ok()) << field;
  }
}

TEST(ModelConfig, TakesYarnsLengthsFromTheFileWhereItsObjectLeavesThemOut) {
  json config = stretched_glm();
  config["rope_parameters"].erase("original_max_position_embeddings");
  EXPECT_EQ(must_parse(config).rope.original_max_position, must_parse(config).max_position);
  config["original_max_position_embeddings"] = must_parse(config).max_position / 2;
  config["rope_parameters"]["factor"] = nullptr;
  EXPECT_EQ(must_parse(config).rope.original_max_position, must_parse(config).max_position / 2);
  EXPECT_EQ(must_parse(config).rope.factor, 2);
  config["rope_parameters"]["original_max_position_embeddings"] = 4096;
  EXPECT_THAT(parse(config).status().message(), HasSubstr("as the other place says"));
}

TEST(ModelConfig, ReadsLinearRope) {
  const ModelConfig config = must_parse(with(
      glm(), "rope_parameters", {{"rope_type", "linear"}, {"rope_theta", 1e6}, {"factor", 2}}));
  EXPECT_EQ(config.rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(config.rope.factor, 2);
  EXPECT_FALSE(config.yarn_active());
  EXPECT_EQ(config.softmax_scale(), 0.0625);
}

TEST(ModelConfig, TakesEqualRopeObjectsForOneAndRefusesOthers) {
  json config = deepseek();
  config["rope_parameters"] = config["rope_scaling"];
  config["rope_parameters"]["rope_theta"] = 10000.0;
  config["rope_parameters"]["rope_type"] = "yarn";
  EXPECT_EQ(must_parse(config).rope, must_parse(deepseek()).rope);
  config.erase("rope_theta");
  EXPECT_EQ(must_parse(config).rope, must_parse(deepseek()).rope);
  config["rope_scaling"]["factor"] = 20;
  EXPECT_THAT(parse(config).status().message(),
              AllOf(StartsWith("c: rope_scaling: "), HasSubstr("want what rope_parameters says")));
  config = with(glm(), "rope_parameters.type", "yarn");
  EXPECT_THAT(parse(config).status().message(), StartsWith("c: rope_parameters.type: "));
}

TEST(ModelConfig, ReadsBothNamesOfItsAttention) {
  for (const char* type : {"indexed_attention", "deepseek_sparse_attention"})
    must_parse(with(deepseek(), "layer_types", std::vector<std::string>(61, type)));
  json types = std::vector<std::string>(61, "indexed_attention");
  types[60] = "full_attention";
  EXPECT_THAT(parse(with(deepseek(), "layer_types", types)).status().message(),
              StartsWith("c: layer_types: "));
}

// Fields that the transformers library writes, with values that change nothing here.
TEST(ModelConfig, IgnoresWhatCannotChangeAResult) {
  json config = deepseek();
  config.update(json::parse(R"({
      "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "return_dict": true,
      "output_attentions": true, "output_hidden_states": false, "is_encoder_decoder": false,
      "use_bidirectional_attention": false, "num_experts": 256, "num_local_experts": null,
      "tokenizer_class": "LlamaTokenizer", "_attn_implementation": "eager",
      "_attn_implementation_autoset": true, "unsloth_fixed": true, "problem_type": null,
      "chunk_size_feed_forward": 0, "pruned_heads": {}, "cross_attention_hidden_size": null,
      "some_field_of_the_future": null})"));
  EXPECT_EQ(must_parse(config).softmax_scale(), must_parse(deepseek()).softmax_scale());
  for (const auto& [field, value] :
       {std::pair<const char*, json>("use_bidirectional_attention", true),
        {"num_experts", 8},
        {"is_encoder_decoder", true},
        {"pruned_heads", {{"1", {2}}}}}) {
    EXPECT_THAT(parse(with(deepseek(), field, value)).status().message(),
                StartsWith("c: " + std::string(field) + ": "));
  }
}

TEST(ModelConfig, ReadsTheNumberOfExpertsUnderItsOtherNames) {
  json config = without(deepseek(), "n_routed_experts");
  config["num_experts"] = 128;
  EXPECT_EQ(must_parse(config).moe.n_experts, 128);
}

TEST(ModelConfig, ReadsWholeNumbersWrittenAsFloats) {
  json config = deepseek();
  config["index_topk"] = 256.0;
  config["eos_token_id"] = json::array({1.0, 2.0});
  EXPECT_EQ(must_parse(config).indexer.top_k, 256);
  EXPECT_THAT(must_parse(config).eos_token_ids, ElementsAre(1, 2));
  for (const double value : {256.5, 1e300, -256.0})
    EXPECT_THAT(parse(with(config, "index_topk", value)).status().message(),
                HasSubstr("index_topk"));
}

TEST(ModelConfig, ReadsDenseAndSparseLayersInAnyPattern) {
  json config = with(deepseek(), "num_hidden_layers", 4);
  config["mlp_layer_types"] = {"dense", "dense", "dense", "sparse"};
  EXPECT_TRUE(must_parse(config).moe.layers.empty());
  config["mlp_layer_types"] = {"sparse", "dense", "sparse", "dense"};
  for (const json& file : {config, without(config, "first_k_dense_replace")}) {
    const ModelConfig parsed = must_parse(file);
    for (const int64_t layer : {0, 1, 2, 3})
      EXPECT_EQ(parsed.is_moe_layer(layer), layer % 2 == 0) << layer;
  }
  for (const json& types :
       {json{"dense", "sparse", "dense"}, json{"dense", "dense", "dense", "moe"}}) {
    EXPECT_THAT(parse(with(config, "mlp_layer_types", types)).status().message(),
                StartsWith("c: mlp_layer_types: "));
  }
}

TEST(ModelConfig, ReadsTheQuantizationThatTransformersWrites) {
  json config = deepseek();
  json& quantization = config["quantization_config"];
  quantization["dequantize"] = false;
  quantization["modules_to_convert"] = {"mlp.experts"};
  quantization["modules_to_not_convert"] = nullptr;
  quantization["expert_dtype"] = "fp8";
  quantization["scale_fmt"] = "float";
  EXPECT_TRUE(must_parse(config).fp8_weights);
  EXPECT_THAT(parse(with(config, "quantization_config.expert_dtype", "fp4")).status().message(),
              StartsWith("c: quantization_config.expert_dtype: "));
}

TEST(ModelConfig, TellsEveryProblemAtOnce) {
  json config = deepseek();
  config["vocab_size"] = -1;
  config["hidden_act"] = "gelu";
  config["sliding_window"] = 7;
  config["rope_scaling"]["beta"] = 1;
  std::vector<std::string> messages;
  for (const Status& problem : model_config_problems(config.dump(), "c"))
    messages.push_back(problem.message());
  EXPECT_THAT(
      messages,
      ElementsAre(StartsWith("c: vocab_size: -1, want"), StartsWith("c: hidden_act: "),
                  "c: rope_scaling.beta: unknown field", "c: sliding_window: unknown field"));
  EXPECT_THAT(parse(config).status().message(),
              AllOf(StartsWith("c: vocab_size: -1"), HasSubstr("(and 3 more: ")));
}

TEST(ModelConfig, IgnoresUnknownFieldsWhenAskedToAndTellsWhich) {
  json config = deepseek();
  config["sliding_window"] = 7;
  config["quantization_config"]["bits"] = 8;
  const ConfigOptions ignore = {.ignore_unknown_fields = true};
  const auto parsed = parse_model_config(config.dump(), "c", ignore);
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_THAT(parsed->ignored_fields,
              ElementsAre("c: quantization_config.bits", "c: sliding_window"));
  EXPECT_FALSE(parse_model_config(with(config, "hidden_act", "gelu").dump(), "c", ignore).ok());
}

TEST(ModelConfig, FollowsTheFlagsForRopeLayouts) {
  EXPECT_EQ(must_parse(with(deepseek(), "rope_interleave", false)).rope_layout,
            RopeLayout::kHalfSplit);
  EXPECT_EQ(must_parse(with(deepseek(), "indexer_rope_interleave", true)).indexer.rope_layout,
            RopeLayout::kInterleaved);
  EXPECT_EQ(must_parse(without(glm(), "indexer_rope_interleave")).indexer.rope_layout,
            RopeLayout::kInterleaved);
}

TEST(ModelConfig, SharesIndexersByFrequencyAsGlm52Does) {
  std::string wanted(78, 'S');
  for (const size_t full : {0U, 1U, 2U})
    wanted[full] = 'F';
  for (size_t full = 6; full <= 74; full += 4)
    wanted[full] = 'F';
  EXPECT_EQ(std::count(wanted.begin(), wanted.end(), 'F'), 21);
  EXPECT_EQ(kinds_text(must_parse(glm())), wanted);
  EXPECT_EQ(kinds_text(must_parse(with(glm(), "num_hidden_layers", 8))), "FFFSSSFS");
}

TEST(ModelConfig, LetsAListOverrideAPatternAndAPatternAFrequency) {
  json config = with(glm(), "num_hidden_layers", 4);
  config["index_topk_pattern"] = "FSFF";
  EXPECT_EQ(kinds_text(must_parse(config)), "FSFF");
  config["indexer_types"] = {"full", "full", "shared", "shared"};
  EXPECT_EQ(kinds_text(must_parse(config)), "FFSS");
}

TEST(ModelConfig, RefusesSchedulesThatCannotRun) {
  const json config = with(glm(), "num_hidden_layers", 3);
  for (const char* pattern : {"", "FF", "FFFF", "SFF", "FfF"}) {
    const Status status = parse(with(config, "index_topk_pattern", pattern)).status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << pattern;
    EXPECT_THAT(status.message(), StartsWith("c: index_topk_pattern: ")) << pattern;
  }
  for (const json& types :
       {json::array(), json::array({"full", "full"}), json{"shared", "full", "full"},
        json{"full", "full", "none"}, json{"full", "full", "full", "none"}}) {
    const Status status = parse(with(config, "indexer_types", types)).status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << types;
    EXPECT_THAT(status.message(), StartsWith("c: indexer_types: ")) << types;
  }
  EXPECT_THAT(parse(with(config, "index_skip_topk_offset", 0)).status().message(),
              HasSubstr("want a first layer that is full"));
}

TEST(ModelConfig, RefusesUnknownFieldsByName) {
  for (const char* field :
       {"sliding_window", "rope_scaling.short_factor", "quantization_config.bits"}) {
    const Status status = parse(with(deepseek(), field, 1)).status();
    EXPECT_EQ(status.code(), StatusCode::kUnsupported) << field;
    EXPECT_EQ(status.message(), "c: " + std::string(field) + ": unknown field");
  }
}

struct Refusal {
  const char* field;
  json value;
};

void expect_refused(const std::vector<Refusal>& refusals, StatusCode code) {
  for (const Refusal& refusal : refusals) {
    const Status status = parse(with(deepseek(), refusal.field, refusal.value)).status();
    EXPECT_EQ(status.code(), code) << refusal.field << " = " << refusal.value;
    EXPECT_THAT(status.message(),
                AllOf(StartsWith("c: " + std::string(refusal.field) + ": "), HasSubstr(", want ")))
        << refusal.field << " = " << refusal.value;
  }
}

TEST(ModelConfig, RefusesWrongTypesAndValuesOutOfRange) {
  expect_refused({{"vocab_size", 0},
                  {"vocab_size", -1},
                  {"vocab_size", 1.5},
                  {"vocab_size", "129280"},
                  {"vocab_size", nullptr},
                  {"vocab_size", UINT64_MAX},
                  {"hidden_size", INT64_MAX},
                  {"hidden_size", json::array({7168})},
                  {"intermediate_size", 0},
                  {"num_hidden_layers", 4097},
                  {"num_nextn_predict_layers", -1},
                  {"max_position_embeddings", int64_t{1} << 40},
                  {"rms_norm_eps", 0},
                  {"rms_norm_eps", "1e-6"},
                  {"tie_word_embeddings", 0},
                  {"num_attention_heads", 1000000},
                  {"q_lora_rank", nullptr},
                  {"kv_lora_rank", -512},
                  {"kv_lora_rank", 511},
                  {"qk_nope_head_dim", 0},
                  {"qk_rope_head_dim", 63},
                  {"v_head_dim", int64_t{1} << 20},
                  {"bos_token_id", 129280},
                  {"eos_token_id", json::array({1, -1})},
                  {"eos_token_id", "1"},
                  {"model_type", 7}},
                 StatusCode::kCorruption);
}

TEST(ModelConfig, RefusesRopeIndexerAndExpertsThatContradictThemselves) {
  expect_refused({{"rope_theta", 1},
                  {"rope_theta", 0},
                  {"rope_scaling", 40},
                  {"rope_scaling.factor", 0.5},
                  {"rope_scaling.beta_fast", 0.5},
                  {"rope_scaling.original_max_position_embeddings", 0},
                  {"rope_scaling.type", 1},
                  {"index_n_heads", 0},
                  {"index_head_dim", 96},
                  {"index_head_dim", 32},
                  {"index_head_dim", 512},
                  {"index_head_dim", 65536},
                  {"index_topk", 0},
                  {"index_topk_freq", 0},
                  {"n_routed_experts", 0},
                  {"n_group", 7},
                  {"n_group", 256},
                  {"topk_group", 9},
                  {"num_experts_per_tok", 129},
                  {"moe_intermediate_size", 0},
                  {"routed_scaling_factor", 0},
                  {"norm_topk_prob", 1},
                  {"first_k_dense_replace", -1},
                  {"moe_layer_freq", 0},
                  {"quantization_config", "fp8"}},
                 StatusCode::kCorruption);
  EXPECT_EQ(parse(with(glm(), "rope_theta", 10000)).status().code(), StatusCode::kCorruption);
  EXPECT_EQ(parse(without(deepseek(), "rope_theta")).status().code(), StatusCode::kCorruption);
}

TEST(ModelConfig, RefusesWhatItDoesNotRun) {
  expect_refused({{"model_type", "llama"},
                  {"model_type", nullptr},
                  {"architectures", json::array({"DeepseekV32ForSequenceClassification"})},
                  {"hidden_act", "gelu"},
                  {"attention_bias", true},
                  {"mlp_bias", true},
                  {"scoring_func", "tanh"},
                  {"topk_method", "greedy"},
                  {"moe_router_dtype", "bfloat16"},
                  {"qk_head_dim", 128},
                  {"layer_types", json::array({"full_attention"})},
                  {"mlp_layer_types", json::array({"dense"})},
                  {"rope_scaling.type", "dynamic"},
                  {"rope_scaling.rope_type", "llama3"},
                  {"rope_scaling.truncate", false},
                  {"quantization_config.quant_method", "awq"},
                  {"quantization_config.fmt", "e5m2"},
                  {"quantization_config.activation_scheme", "static"},
                  {"quantization_config.scale_fmt", "e5m2"},
                  {"quantization_config.weight_block_size", json::array({64, 64})},
                  {"quantization_config.weight_block_size", nullptr}},
                 StatusCode::kUnsupported);
  EXPECT_THAT(parse(with(glm(), "rope_scaling", deepseek()["rope_scaling"])).status().message(),
              HasSubstr("want what rope_parameters says"));
}

TEST(ModelConfig, NamesAFieldThatIsAbsent) {
  for (const char* field : {"vocab_size", "hidden_size", "rms_norm_eps", "kv_lora_rank", "n_group",
                            "index_topk", "first_k_dense_replace"}) {
    const Status status = parse(without(deepseek(), field)).status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << field;
    EXPECT_THAT(status.message(), StartsWith("c: " + std::string(field) + ": absent, want "));
  }
}

TEST(ModelConfig, TakesOnlyMixturesAtTheFrequencyOfTheFile) {
  const ModelConfig config = must_parse(with(deepseek(), "moe_layer_freq", 2));
  EXPECT_FALSE(config.is_moe_layer(2));
  EXPECT_FALSE(config.is_moe_layer(3));
  EXPECT_TRUE(config.is_moe_layer(4));
  EXPECT_FALSE(config.is_moe_layer(5));
}

TEST(ModelConfig, RefusesTextsThatAreNotOneObject) {
  const std::string deep = R"({"a":)" + std::string(200000, '[') + std::string(200000, ']') + "}";
  const std::string bomb = [] {
    std::string text;
    for (int i = 0; i < 100000; ++i)
      text += R"({"a":)";
    return text;
  }();
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("7"), std::string("{}{}"),
        std::string("{\"model_type\":\"\xFF\"}"), std::string(R"({"a":1e999})"), deep, bomb,
        std::string((1U << 20U) + 1, ' ')}) {
    const Status status = parse_model_config(text, "c").status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << text.substr(0, 40);
    EXPECT_THAT(status.message(), StartsWith("c: ")) << text.substr(0, 40);
  }
}

TEST(ModelConfig, RefusesAFieldGivenTwice) {
  const std::string text = deepseek().dump();
  const Status status = parse_model_config(R"({"vocab_size":7,)" + text.substr(1), "c").status();
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_EQ(status.message(), "c: vocab_size: given twice");
  const std::string inner = R"("rope_scaling":{"factor":1,)";
  std::string nested = text;
  nested.replace(nested.find(R"("rope_scaling":{)"), inner.size() - 11, inner);
  EXPECT_EQ(parse_model_config(nested, "c").status().message(), "c: factor: given twice");
}

TEST(ModelConfig, RefusesEveryProperPrefixOfAFile) {
  const std::string text = deepseek().dump();
  for (size_t n = 0; n < text.size(); ++n) {
    EXPECT_EQ(parse_model_config(text.substr(0, n), "c").status().code(), StatusCode::kCorruption)
        << n << " bytes";
  }
}

TEST(ModelConfig, SurvivesRandomDamage) {
  const std::string whole = deepseek().dump();
  const std::string_view alphabet = "0123456789-.eE[]{}:,\"ntrueflsF";
  std::mt19937 random(2);
  const auto pick = [&random](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  int n_accepted = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = whole;
    for (size_t edits = pick(2) + 1; edits > 0; --edits) {
      text[pick(text.size())] = alphabet[pick(alphabet.size())];
    }
    const auto config = parse_model_config(text, "c");
    if (!config.ok()) {
      ASSERT_THAT(config.status().message(), StartsWith("c: "));
      continue;
    }
    ++n_accepted;
    ASSERT_EQ(static_cast<int64_t>(config->indexer.layers.size()), config->n_layers);
    ASSERT_GT(config->softmax_scale(), 0);
  }
  EXPECT_GT(n_accepted, 30);
}

TEST(ModelConfig, ReadsTheModelOfThisRepository) {
  const auto config = parse_model_config(
      read_file(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32/config.json"), "config.json");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->n_layers, 6);
  EXPECT_EQ(config->indexer.top_k, 64);
  EXPECT_FALSE(config->yarn_active());
  EXPECT_FALSE(config->fp8_weights);
}

TEST(ModelConfig, ReadsTheConformanceModel) {
  const std::string path = DSA_SOURCE_DIR "/../shared/conformance/tiny-v32-yarn/config.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no conformance files next to the repository";
  const auto config = parse_model_config(read_file(path), path);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_TRUE(config->yarn_active());
  EXPECT_EQ(config->moe.n_groups, 4);
}

json deepseek_v3() {
  json config = deepseek();
  config["model_type"] = "deepseek_v3";
  config["architectures"] = {"DeepseekV3ForCausalLM"};
  for (const char* field : {"index_n_heads", "index_head_dim", "index_topk"})
    config.erase(field);
  return config;
}

json deepseek_v2_lite() {
  json config = without(deepseek_v3(), "quantization_config");
  config["model_type"] = "deepseek_v2";
  config["architectures"] = {"DeepseekV2ForCausalLM"};
  config["q_lora_rank"] = nullptr;
  config["scoring_func"] = "softmax";
  config["topk_method"] = "greedy";
  config["norm_topk_prob"] = false;
  return config;
}

TEST(MlaConfig, ReadsModelsWithoutAnIndexer) {
  const auto v3 = parse_mla_config(deepseek_v3().dump(), "c");
  ASSERT_TRUE(v3.ok()) << v3.status().message();
  EXPECT_EQ(v3->indexer.n_heads, 0);
  EXPECT_EQ(v3->q_lora_rank, 1536);
  EXPECT_TRUE(v3->moe.choice_bias);
  const auto lite = parse_mla_config(deepseek_v2_lite().dump(), "c");
  ASSERT_TRUE(lite.ok()) << lite.status().message();
  EXPECT_EQ(lite->q_lora_rank, 0);
  EXPECT_TRUE(lite->moe.softmax_scores);
  EXPECT_FALSE(lite->moe.choice_bias);
  EXPECT_EQ(lite->moe.n_groups, 1);
  const auto grouped =
      parse_mla_config(with(deepseek_v2_lite(), "topk_method", "group_limited_greedy").dump(), "c");
  ASSERT_TRUE(grouped.ok()) << grouped.status().message();
  EXPECT_EQ(grouped->moe.n_groups, 8);
}

TEST(MlaConfig, ReadsModelsWithAnIndexerAsEver) {
  const auto parsed = parse_mla_config(deepseek().dump(), "c");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->indexer.n_heads, 64);
}

TEST(MlaConfig, SaysWhatGivesAModelAnIndexer) {
  const auto parsed = parse(deepseek_v3());
  EXPECT_EQ(parsed.status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(parsed.status().message(), AllOf(HasSubstr("deepseek_v3"), HasSubstr("warmup")));
}

TEST(MlaConfig, RefusesRoutingThatIsNotDone) {
  const auto message = [](const json& config) {
    return parse_mla_config(config.dump(), "c").status().message();
  };
  EXPECT_THAT(message(with(deepseek_v3(), "scoring_func", "tanh")), HasSubstr("scoring_func"));
  EXPECT_THAT(message(with(deepseek_v2_lite(), "topk_method", "noaux_tc")),
              HasSubstr("topk_method"));
  EXPECT_THAT(message(with(deepseek_v2_lite(), "norm_topk_prob", true)),
              HasSubstr("routed_scaling_factor"));
}

// The parts a configuration is compared by: what its own text says.
std::string again(const ModelConfig& config) {
  const auto parsed = parse_model_config(model_config_json(config, "bfloat16"), "again");
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return parsed.ok() ? model_config_json(*parsed, "bfloat16") : "";
}

TEST(ModelConfigJson, IsReadBackAsItWas) {
  json pattern = with(glm(), "num_hidden_layers", 4);
  pattern["mlp_layer_types"] = {"dense", "sparse", "dense", "sparse"};
  const json linear =
      with(glm(), "rope_parameters", {{"rope_type", "linear"}, {"rope_theta", 1e6}, {"factor", 2}});
  for (const json& file : {deepseek(), glm(), stretched_glm(), pattern, linear}) {
    const ModelConfig config = must_parse(file);
    const std::string text = model_config_json(config, "bfloat16");
    EXPECT_EQ(again(config), text);
    const ModelConfig read = must_parse(json::parse(text));
    EXPECT_EQ(read.softmax_scale(), config.softmax_scale());
    EXPECT_EQ(read.rope, config.rope);
    EXPECT_EQ(read.moe.layers, config.moe.layers);
    EXPECT_EQ(kinds_text(read), kinds_text(config));
    EXPECT_EQ(read.moe.routed_scaling, config.moe.routed_scaling);
    EXPECT_EQ(read.fp8_weights, config.fp8_weights);
    EXPECT_EQ(read.eos_token_ids, config.eos_token_ids);
    EXPECT_EQ(read.rope_layout, config.rope_layout);
    EXPECT_EQ(read.indexer.rope_layout, config.indexer.rope_layout);
  }
}

}  // namespace
}  // namespace dsa
