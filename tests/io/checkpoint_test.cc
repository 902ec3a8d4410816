#include "io/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <utility>

#include "tests/io/safetensors_bytes.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr const char* kIndex = "model.safetensors.index.json";

// A file of one u8 tensor of this name with four elements.
std::string shard(const std::string& tensor) {
  return safetensors_bytes(
      R"({")" + tensor + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4);
}

// A checkpoint of two shards with this index.
class ShardedCheckpoint : public ::testing::Test {
 protected:
  ShardedCheckpoint() {
    dir_.write("config.json", "{}");
    dir_.write("one.safetensors", shard("a"));
    dir_.write("two.safetensors", shard("b"));
  }

  Status status_with_index(const std::string& index) {
    dir_.write(kIndex, index);
    return Checkpoint::open(dir_.path()).status();
  }

  TempDir dir_;
};

TEST_F(ShardedCheckpoint, FindsTensorsOfAllShards) {
  dir_.write(kIndex, R"({"metadata":{"total_size":8},)"
                     R"("weight_map":{"b":"two.safetensors","a":"one.safetensors"}})");
  auto opened = Checkpoint::open(dir_.path());
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const Checkpoint checkpoint = std::move(opened).value();
  for (const char* name : {"a", "b"}) {
    const auto tensor = checkpoint.require(name, {4}, {DType::kU8});
    ASSERT_TRUE(tensor.ok()) << tensor.status().message();
    EXPECT_EQ((*tensor)->name, name);
  }
  EXPECT_THAT(checkpoint.notes(), IsEmpty());
  EXPECT_EQ(checkpoint.shards().size(), 2U);
  EXPECT_EQ(checkpoint.config_text(), "{}");
  EXPECT_EQ(checkpoint.config_path(), dir_.path() + "/config.json");
}

TEST_F(ShardedCheckpoint, RefusesAnIndexThatNamesFilesElsewhere) {
  for (const char* name : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".",
                           "", R"(a\\b)", R"(one.safetensors\u0000)"}) {
    const Status status =
        status_with_index(std::string(R"({"weight_map":{"a":")") + name + R"("}})");
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << name;
    EXPECT_THAT(status.message(), HasSubstr("want the name of a file next to the index")) << name;
  }
}

TEST_F(ShardedCheckpoint, RefusesAnIndexThatIsNoIndex) {
  for (const char* text : {"", "{", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})",
                           R"({"weight_map":{"a":"one.safetensors","a":"one.safetensors"}})"}) {
    EXPECT_EQ(status_with_index(text).code(), StatusCode::kCorruption) << text;
  }
}

constexpr const char* kPointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 123\n";

// Tensors that nobody asks for, such as those of multi-token prediction, need not be there.
TEST_F(ShardedCheckpoint, NeedsOnlyWhatIsRequired) {
  dir_.write("pointer.safetensors", kPointer);
  dir_.write(kIndex, R"({"weight_map":{"a":"one.safetensors","b":"three.safetensors",)"
                     R"("c":"one.safetensors","d":"pointer.safetensors"}})");
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_TRUE(checkpoint->require("a", {4}, {DType::kU8}).ok());
  EXPECT_THAT(checkpoint->notes(),
              ElementsAre(HasSubstr("one.safetensors, which lacks it"),
                          HasSubstr("a Git LFS pointer"), HasSubstr("three.safetensors: cannot")));
  for (const auto& [name, reason] : {std::pair("b", "/three.safetensors: cannot open"),
                                     {"c", "which lacks it"},
                                     {"d", "/pointer.safetensors: a Git LFS pointer"}}) {
    const Status status = checkpoint->require(name, {4}, {DType::kU8}).status();
    EXPECT_EQ(status.code(), StatusCode::kNotFound);
    EXPECT_THAT(status.message(), AllOf(HasSubstr("no tensor"), HasSubstr(reason)));
  }
}

TEST_F(ShardedCheckpoint, RefusesATensorInAnotherShardThanTheIndexSays) {
  const Status status =
      status_with_index(R"({"weight_map":{"a":"two.safetensors","b":"one.safetensors"}})");
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(R"(one.safetensors: tensor "a" is here)"),
                                      HasSubstr("places it in two.safetensors")));
}

TEST_F(ShardedCheckpoint, RefusesATensorThatTheIndexOmits) {
  dir_.write("two.safetensors",
             safetensors_bytes(R"({"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                               R"("z":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                               8));
  const Status status =
      status_with_index(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_THAT(status.message(), HasSubstr(R"(tensor "z" is not in)"));
}

TEST_F(ShardedCheckpoint, RefusesATensorInTwoShards) {
  dir_.write("two.safetensors",
             safetensors_bytes(R"({"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                               R"("a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                               8));
  const Status status =
      status_with_index(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_THAT(status.message(), HasSubstr(R"(two.safetensors: tensor "a" is here)"));
}

TEST_F(ShardedCheckpoint, NamesWhatADirectoryLacks) {
  EXPECT_THAT(Checkpoint::open(dir_.path()).status().message(), HasSubstr("no model.safetensors"));
  const TempDir empty;
  const Status status = Checkpoint::open(empty.path()).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("/config.json: cannot open"));
}

class SingleFileCheckpoint : public ::testing::Test {
 protected:
  SingleFileCheckpoint() {
    dir_.write("config.json", "{}");
    dir_.write(
        "model.safetensors",
        safetensors_bytes(padded(R"({"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                                 R"("d":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},)"
                                 R"("n":{"dtype":"U8","shape":[1],"data_offsets":[16,17]},)"
                                 R"("odd":{"dtype":"F32","shape":[1],"data_offsets":[17,21]}})"),
                          21));
  }

  Status status_of(std::string_view name, std::initializer_list<int64_t> shape, DTypeSet dtypes) {
    const auto checkpoint = Checkpoint::open(dir_.path());
    if (!checkpoint.ok()) return checkpoint.status();
    return checkpoint->require(name, shape, dtypes).status();
  }

  TempDir dir_;
};

TEST_F(SingleFileCheckpoint, GivesATensorThatIsAsRequired) {
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto tensor = checkpoint->require("w", {2, 1}, {DType::kBF16, DType::kF32});
  ASSERT_TRUE(tensor.ok()) << tensor.status().message();
  EXPECT_EQ(*tensor, checkpoint->shards()[0].find("w"));
  EXPECT_THAT(checkpoint->notes(), IsEmpty());
}

TEST_F(SingleFileCheckpoint, ReadsTheOneFileWhenThereIsAlsoAnIndex) {
  dir_.write(kIndex, "not read");
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_THAT(checkpoint->notes(), ElementsAre(HasSubstr("its index is not")));
  EXPECT_TRUE(checkpoint->require("w", {2, 1}, {DType::kF32}).ok());
}

TEST_F(SingleFileCheckpoint, SaysWhatATensorIsAndWhatWasWanted) {
  Status status = status_of("w", {1, 2}, {DType::kF32});
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_THAT(status.message(), AllOf(StartsWith(dir_.file("model.safetensors")),
                                      HasSubstr(R"("w": shape [2, 1], want [1, 2])")));
  status = status_of("w", {2, 1}, {DType::kBF16, DType::kE4M3});
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_THAT(status.message(), HasSubstr(R"("w": F32, want BF16 or F8_E4M3)"));
  status = status_of("v", {2}, {DType::kF32});
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr(R"(no tensor "v", want F32 [2])"));
  status = status_of("d", {1}, {DType::kF32});
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_THAT(status.message(), HasSubstr(R"("d": F64, want F32)"));
}

TEST_F(SingleFileCheckpoint, CopiesATensorThatAPointerCannotRead) {
  const auto checkpoint = Checkpoint::open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto tensor = checkpoint->require("odd", {1}, {DType::kF32});
  ASSERT_TRUE(tensor.ok()) << tensor.status().message();
  EXPECT_EQ(std::bit_cast<uintptr_t>((*tensor)->data.data()) % 4, 0U);
  EXPECT_TRUE(std::ranges::equal((*tensor)->data, checkpoint->shards()[0].find("odd")->data));
  EXPECT_EQ(*checkpoint->require("odd", {1}, {DType::kF32}), *tensor);
}

TEST_F(SingleFileCheckpoint, IsReadThroughLinks) {
  const TempDir snapshot;
  for (const char* name : {"config.json", "model.safetensors"})
    std::filesystem::create_symlink(dir_.file(name), snapshot.file(name));
  EXPECT_TRUE(Checkpoint::open(snapshot.path()).ok());
}

TEST_F(SingleFileCheckpoint, SaysThatAFileIsAPointer) {
  dir_.write("model.safetensors", kPointer);
  EXPECT_THAT(Checkpoint::open(dir_.path()).status().message(),
              HasSubstr("model.safetensors: a Git LFS pointer, want the file it stands for"));
}

// Two experts of two gate rows and two up rows, three wide; u8 values count from 0.
TEST(PackedExperts, AreReadAsTheirSlices) {
  const TempDir dir;
  dir.write("config.json", "{}");
  const std::string layer = "model.layers.1.mlp.experts.";
  dir.write("model.safetensors",
            safetensors_bytes(
                R"({")" + layer +
                    R"(gate_up_proj":{"dtype":"U8","shape":[2,4,3],)"
                    R"("data_offsets":[0,24]},")" +
                    layer + R"(down_proj":{"dtype":"U8","shape":[2,3,2],"data_offsets":[24,36]}})",
                36));
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto first_byte = [&](const std::string& name, std::initializer_list<int64_t> shape) {
    const auto tensor = checkpoint->require(layer + name, shape, {DType::kU8});
    EXPECT_TRUE(tensor.ok()) << tensor.status().message();
    return tensor.ok() ? std::to_integer<int>((*tensor)->data[0]) : -1;
  };
  EXPECT_EQ(first_byte("0.gate_proj.weight", {2, 3}), 0);
  EXPECT_EQ(first_byte("0.up_proj.weight", {2, 3}), 6);
  EXPECT_EQ(first_byte("1.gate_proj.weight", {2, 3}), 12);
  EXPECT_EQ(first_byte("1.up_proj.weight", {2, 3}), 18);
  EXPECT_EQ(first_byte("0.down_proj.weight", {3, 2}), 24);
  EXPECT_EQ(first_byte("1.down_proj.weight", {3, 2}), 30);
  EXPECT_THAT(checkpoint->notes(), ElementsAre(HasSubstr("packed experts")));
}

TEST(PackedExperts, DoNotShareABlockOfScalesBetweenGateAndUp) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors",
            safetensors_bytes(R"({"model.layers.0.mlp.experts.gate_up_proj":{"dtype":"F8_E4M3",)"
                              R"("shape":[1,4,1],"data_offsets":[0,4]}})",
                              4));
  EXPECT_THAT(Checkpoint::open(dir.path()).status().message(), HasSubstr("want a multiple of 128"));
}

TEST(PackedExperts, AreRefusedWhereTheyAreMillions) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors",
            safetensors_bytes(R"({"model.layers.0.mlp.experts.down_proj":{"dtype":"U8",)"
                              R"("shape":[4200000,1,1],"data_offsets":[0,4200000]}})",
                              4200000));
  EXPECT_THAT(Checkpoint::open(dir.path()).status().message(), HasSubstr("4200000 experts"));
}

TEST(Checkpoint, OpensTheModelOfThisRepository) {
  const auto checkpoint = Checkpoint::open(DSA_SOURCE_DIR "/tests/checkpoints/baby-v32");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->shards()[0].tensors().size(), 235U);
  EXPECT_TRUE(checkpoint->require("model.embed_tokens.weight", {2048, 256}, {DType::kBF16}).ok());
}

TEST(Checkpoint, OpensTheConformanceModel) {
  const std::string dir = DSA_SOURCE_DIR "/../shared/conformance/tiny-v32-yarn";
  if (!std::filesystem::exists(dir)) GTEST_SKIP() << "no conformance files next to the repository";
  const auto checkpoint = Checkpoint::open(dir);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_TRUE(checkpoint->require("lm_head.weight", {320, 256}, {DType::kF32}).ok());
}

}  // namespace
}  // namespace dsa
