// Random checkpoints of both families, odd shapes and every storage type against the float64 model.
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "dsa/engine.h"

#include "tests/engine/families.h"
#include "tests/engine/naive_model.h"
#include "tests/engine/replay.h"
#include "tests/engine/synthetic.h"

namespace dsa {
namespace {

struct Family {
  std::string name;
  nlohmann::json config;
  DType matrix_type;
  std::map<std::string, DType> other_types = {};  // of matrices whose names contain the text

  SyntheticCheckpoint checkpoint(int64_t top_k = 20) const {
    nlohmann::json shape = config;
    shape["index_topk"] = top_k;
    SyntheticCheckpoint made(shape, matrix_type, 5);
    for (const auto& [text, type] : other_types)
      made.set_type(text, type);
    return made;
  }
};

class Families : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "dsa_family_" + GetParam().name + "_" + std::to_string(getpid());
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string dir_;
};

constexpr double kF32Bound = 5e-4;  // logits are of the order of 1; sums of a few hundred products
// Root mean square; checkpoints of one type have up to 0.085: bf16 keeps 8 bits, and a router's
// near tie that falls otherwise changes a token.
constexpr double kBf16Bound = 0.12;
constexpr size_t kTokens = 90;

TEST_P(Families, F32ArithmeticAgreesWithTheFloat64Model) {
  SyntheticCheckpoint checkpoint = GetParam().checkpoint();
  checkpoint.write(dir_);
  const auto model = open_model(dir_);
  ASSERT_NE(model, nullptr);
  std::mt19937 random(3);
  std::uniform_int_distribution<int32_t> token(0, 96);
  std::vector<int32_t> tokens(kTokens);
  for (int32_t& t : tokens)
    t = token(random);

  NaiveModel naive(model->config(), checkpoint.tensors());
  std::vector<float> want;
  std::vector<std::vector<std::vector<int32_t>>> want_selected(
      static_cast<size_t>(model->config().n_layers));
  for (const int32_t t : tokens) {
    const Vector logits = naive.step(t);
    want.insert(want.end(), logits.begin(), logits.end());
    for (size_t layer = 0; layer < want_selected.size(); ++layer) {
      want_selected[layer].push_back(naive.selection()[layer]);
    }
  }
  for (const std::string& tier : cpu_info().runnable) {
    for (const int64_t chunk : {1, 7, 64, 90}) {
      const ForcedTier forced(tier);
      EngineOptions options;
      options.kv_cache = CacheFormat::kF32;
      options.index_cache = CacheFormat::kF32;
      options.cache_tokens = 128;
      options.n_threads = 2;
      options.max_batch_tokens = chunk;
      const Replay got = replay(model, options, tokens, kTokens - 8);
      EXPECT_THAT(differences(got.logits, want), testing::Each(testing::Le(kF32Bound)))
          << tier << " chunk " << chunk;
      EXPECT_EQ(got.selected, want_selected) << tier << " chunk " << chunk;
    }
  }
}

// Each product rounds its activations or not by its own weights' format, so that mixed checkpoints
// are no further from exact than those of one type. Everything is selected: a near tie that falls
// otherwise would hide the rounding.
TEST_P(Families, RoundedArithmeticStaysNearTheFloat64Model) {
  SyntheticCheckpoint checkpoint = GetParam().checkpoint(128);
  checkpoint.write(dir_);
  const auto model = open_model(dir_);
  ASSERT_NE(model, nullptr);
  std::vector<int32_t> tokens(kTokens);
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int32_t>(i * 31 % 97);
  NaiveModel naive(model->config(), checkpoint.tensors());
  std::vector<double> want;
  for (const int32_t t : tokens) {
    const Vector logits = naive.step(t);
    want.insert(want.end(), logits.begin(), logits.end());
  }
  for (const std::string& tier : cpu_info().runnable) {
    for (const int64_t chunk : {1, 90}) {
      const ForcedTier forced(tier);
      EngineOptions options;
      options.kv_cache = CacheFormat::kBF16;
      options.index_cache = CacheFormat::kF32;
      options.cache_tokens = 128;
      options.n_threads = 2;
      options.max_batch_tokens = chunk;
      const Replay got = replay(model, options, tokens, kTokens - 8);
      ASSERT_EQ(got.logits.size(), want.size());
      double sum = 0;
      for (size_t i = 0; i < want.size(); ++i)
        sum += std::pow(static_cast<double>(got.logits[i]) - want[i], 2);
      // Logits are of the order of 1.
      EXPECT_LE(std::sqrt(sum / static_cast<double>(want.size())), kBf16Bound)
          << tier << " chunk " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(,
                         Families,
                         testing::Values(Family{"deepseek_f32", deepseek_config(), DType::kF32},
                                         Family{"glm_yarn", glm_yarn_config(), DType::kF32},
                                         Family{"glm_linear", glm_linear_config(), DType::kF32},
                                         Family{"deepseek_f16", deepseek_config(), DType::kF16},
                                         Family{"deepseek_bf16", deepseek_config(), DType::kBF16},
                                         Family{"deepseek_fp8", with_fp8(deepseek_config()),
                                                DType::kE4M3},
                                         Family{"glm_bf16", glm_config(), DType::kBF16},
                                         Family{"deepseek_bf16_f16_experts",
                                                deepseek_config(),
                                                DType::kBF16,
                                                {{".experts.", DType::kF16}}},
                                         Family{"deepseek_fp8_mixed",
                                                with_fp8(deepseek_config()),
                                                DType::kE4M3,
                                                {{"kv_b_proj", DType::kF16},
                                                 {".experts.1", DType::kBF16},
                                                 {"up_proj", DType::kF32}}},
                                         Family{"glm_mixed",
                                                glm_config(),
                                                DType::kF16,
                                                {{"kv_b_proj", DType::kBF16},
                                                 {"down_proj", DType::kBF16},
                                                 {"embed_tokens", DType::kF16}}}),
                         [](const auto& param) { return param.param.name; });

TEST(WeightScales, RefuseNan) {
  const std::string dir = testing::TempDir() + "dsa_nan_scale_" + std::to_string(getpid());
  SyntheticCheckpoint(with_fp8(deepseek_config()), DType::kE4M3, 5).write(dir);
  const std::string path = dir + "/model.safetensors";
  const std::string name = "model.layers.1.self_attn.kv_b_proj.weight_scale_inv";
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  uint64_t header_bytes = 0;
  char length[8];
  file.read(length, 8);
  std::memcpy(&header_bytes, length, 8);
  std::string header(header_bytes, ' ');
  file.read(header.data(), static_cast<std::streamsize>(header_bytes));
  const uint64_t offset = nlohmann::json::parse(header)[name]["data_offsets"][0];
  file.seekp(static_cast<std::streamoff>(8 + header_bytes + offset));
  file.write("\x00\x00\xC0\x7F", 4);
  file.close();
  const auto model = Model::open(dir);
  std::filesystem::remove_all(dir);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), StatusCode::kCorruption);
  EXPECT_THAT(model.status().message(), testing::HasSubstr(name));
  EXPECT_THAT(model.status().message(), testing::HasSubstr("scale 0 is nan, want a finite value"));
}

}  // namespace
}  // namespace dsa
