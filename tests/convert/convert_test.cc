#include "dsa/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "dsa/model.h"

#include "convert/encode.h"
#include "convert/shard_writer.h"
#include "formats/float_bits.h"
#include "io/checkpoint.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kBaby = DSA_SOURCE_DIR "/tests/checkpoints/baby-v32";
// Half of the gap to the next value over the value: 2^-4 for e4m3, 2^-9 for bf16. Scales are powers
// of two, values below a block's range lose more: the root of squares stays below.
constexpr double kFp8Relative = 0.04;

ConvertReport convert(const std::string& in,
                      const std::string& out,
                      const ConvertOptions& options) {
  auto report = convert_checkpoint(in, out, options);
  EXPECT_TRUE(report.ok()) << report.status().message();
  return report.ok() ? std::move(report).value() : ConvertReport();
}

double worst(const ConvertReport& report) {
  double most = 0;
  for (const ConvertError& error : report.errors)
    most = std::max(most, error.relative);
  return most;
}

TEST(Convert, ToF32AndBackChangesNothing) {
  const TempDir dir;
  const ConvertReport up = convert(kBaby, dir.file("f32"), {.type = WeightType::kF32});
  EXPECT_EQ(worst(up), 0);
  const ConvertReport down =
      convert(dir.file("f32"), dir.file("bf16"), {.type = WeightType::kBF16});
  EXPECT_EQ(worst(down), 0);
  const auto before = Checkpoint::open(kBaby);
  const auto after = Checkpoint::open(dir.file("bf16"));
  ASSERT_TRUE(before.ok() && after.ok());
  size_t n = 0;
  for (const StoredTensor& tensor : before->shards()[0].tensors()) {
    const StoredTensor* const other = after->shards()[0].find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    ASSERT_TRUE(
        std::equal(tensor.data.begin(), tensor.data.end(), other->data.begin(), other->data.end()))
        << tensor.name;
    ++n;
  }
  EXPECT_EQ(n, after->shards()[0].tensors().size());
}

TEST(Convert, ToFp8TellsItsErrorAndGivesAModelThatOpens) {
  const TempDir dir;
  const ConvertReport report =
      convert(kBaby, dir.file("fp8"), {.type = WeightType::kFp8, .shard_bytes = 2'000'000});
  EXPECT_GT(report.n_files, 3);
  EXPECT_LT(report.bytes_after, report.bytes_before * 7 / 10);
  for (const ConvertError& error : report.errors) {
    const bool rounded = error.tensors.find("_proj") != std::string::npos ||
                         error.tensors.find(".w") != std::string::npos;
    const bool kept = error.tensors.find("weights_proj") != std::string::npos;
    if (rounded && !kept) {
      EXPECT_GT(error.relative, 0.01) << error.tensors;
    } else {
      EXPECT_EQ(error.relative, 0) << error.tensors;
    }
    EXPECT_LE(error.relative, kFp8Relative) << error.tensors;
  }
  const auto model = Model::open(dir.file("fp8"));
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_TRUE((*model)->config().fp8_weights);
  // Scales are powers of two: going on from fp8 loses nothing more.
  EXPECT_EQ(worst(convert(dir.file("fp8"), dir.file("bf16"), {.type = WeightType::kBF16})), 0);
  const auto back = Model::open(dir.file("bf16"));
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_FALSE((*back)->config().fp8_weights);
  EXPECT_TRUE(std::filesystem::exists(dir.file("fp8/tokenizer.json")));
}

TEST(Convert, LeavesNothingWhereItFails) {
  const TempDir dir;
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_FALSE(convert_checkpoint(kBaby, dir.file("out"), {}, stop).ok());
  EXPECT_EQ(dir.n_files(), 0U);
  EXPECT_EQ(convert_checkpoint(dir.file("none"), dir.file("out"), {}).status().code(),
            StatusCode::kNotFound);
  dir.write("out", "mine");
  EXPECT_EQ(convert_checkpoint(kBaby, dir.file("out"), {}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(dir.n_files(), 1U);
}

TEST(Convert, NamesATensorItCannotRead) {
  const TempDir dir;
  std::filesystem::create_directories(dir.file("in"));
  dir.write("in/config.json", "{}");
  auto writer = SafetensorsWriter::create(dir.file("in/model.safetensors"),
                                          {{"x.weight", ElementType::kE4M3, {4, 4}}});
  ASSERT_TRUE(writer.ok());
  const std::vector<std::byte> bytes(16);
  ASSERT_TRUE(writer->append_bytes("x.weight", bytes).ok());
  ASSERT_TRUE(writer->commit().ok());
  EXPECT_THAT(convert_checkpoint(dir.file("in"), dir.file("out"), {}).status().message(),
              HasSubstr("x.weight_scale_inv"));
}

TEST(EncodeValues, RoundsEachBlockWithItsOwnScale) {
  std::vector<float> values(2 * 130, 1.0F);
  values[129] = 1000.0F;
  const Encoded encoded = encode_values(DType::kE4M3, 2, 130, values);
  EXPECT_THAT(encoded.scales, ElementsAre(0x1p-8F, 4.0F));
  EXPECT_EQ(values[0], 1.0F);
  EXPECT_EQ(values[129], 1024.0F);
}

TEST(EncodeValues, SurvivesValuesThatAreNotFinite) {
  std::vector<float> values = {std::numeric_limits<float>::quiet_NaN(),
                               std::numeric_limits<float>::infinity(), 0.0F, -1.0F};
  const Encoded encoded = encode_values(DType::kBF16, 2, 2, values);
  EXPECT_EQ(encoded.bytes.size(), 8U);
  EXPECT_TRUE(std::isnan(values[0]) && std::isinf(values[1]));
}

TEST(TensorKind, LeavesOutNumbers) {
  EXPECT_EQ(tensor_kind("model.layers.3.mlp.experts.17.up_proj.weight"), "mlp.experts.up_proj");
  EXPECT_EQ(tensor_kind("lm_head.weight"), "lm_head");
  EXPECT_EQ(tensor_kind("model.layers.0.self_attn.indexer.k_norm.bias"),
            "self_attn.indexer.k_norm.bias");
}

TEST(PlanShards, FillsFilesUpToTheirSize) {
  std::vector<PlannedTensor> tensors(5);
  for (PlannedTensor& tensor : tensors)
    tensor.spec.shape = {10};
  const auto shards = plan_shards(tensors, 100);
  ASSERT_EQ(shards.size(), 3U);
  EXPECT_EQ(shards[0].size(), 2U);
  EXPECT_EQ(plan_shards(tensors, 1).size(), 5U);
  EXPECT_EQ(shard_name(0, 1), "model.safetensors");
  EXPECT_EQ(shard_name(2, 12), "model-00003-of-00012.safetensors");
}

TEST(RandomCheckpoint, IsTheSameModelInEveryType) {
  const TempDir dir;
  const auto baby = Model::open(kBaby);
  ASSERT_TRUE(baby.ok());
  for (const WeightType type : {WeightType::kF32, WeightType::kBF16, WeightType::kFp8}) {
    const std::string out = dir.file(weight_type_name(type));
    const Status written = write_random_checkpoint(
        (*baby)->config(), out, {.type = type, .shard_bytes = 4'000'000, .tokenizer = kBaby});
    ASSERT_TRUE(written.ok()) << written.message();
    const auto model = Model::open(out);
    ASSERT_TRUE(model.ok()) << model.status().message();
    EXPECT_EQ((*model)->n_parameters(), (*baby)->n_parameters());
  }
  EXPECT_GT(worst(convert(dir.file("f32"), dir.file("x"), {.type = WeightType::kFp8})), 0.01);
}

// A shape's tokens belong to the tokenizer of its own model.
TEST(RandomCheckpoint, HasTheTokensOfItsTokenizer) {
  const TempDir dir;
  const auto baby = Model::open(kBaby);
  ASSERT_TRUE(baby.ok());
  ModelConfig config = (*baby)->config();
  config.bos_token_id = -1;
  config.eos_token_ids = {154820, 2, 154827};
  ASSERT_TRUE(write_random_checkpoint(config, dir.file("bytes"), {}).ok());
  const auto bytes = Model::open(dir.file("bytes"));
  ASSERT_TRUE(bytes.ok()) << bytes.status().message();
  EXPECT_EQ((*bytes)->config().bos_token_id, 0);
  EXPECT_THAT((*bytes)->config().eos_token_ids, ElementsAre(1));
  ASSERT_TRUE(write_random_checkpoint(config, dir.file("baby"), {.tokenizer = kBaby}).ok());
  const auto model = Model::open(dir.file("baby"));
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ((*model)->config().bos_token_id, -1);
  EXPECT_THAT((*model)->config().eos_token_ids, ElementsAre(2));
}

TEST(RandomCheckpoint, NeedsAVocabularyOfTheTokenizersSize) {
  const TempDir dir;
  const auto baby = Model::open(kBaby);
  ASSERT_TRUE(baby.ok());
  ModelConfig config = (*baby)->config();
  config.vocab_size = 263;
  EXPECT_THAT(write_random_checkpoint(config, dir.file("out"), {}).message(),
              HasSubstr("vocab_size: 263, want at least the 264"));
  EXPECT_EQ(dir.n_files(), 0U);
}

}  // namespace
}  // namespace dsa
