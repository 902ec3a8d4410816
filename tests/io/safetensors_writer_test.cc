#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <utility>

#include "dsa/safetensors.h"

#include "io/safetensors.h"
#include "tests/io/safetensors_bytes.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<TensorSpec> kSpecs = {{"logits", ElementType::kF32, {2, 3}},
                                        {"tokens", ElementType::kI32, {2}}};
const std::vector<float> kRow0 = {0.5F, -1.0F, 2.0F};
const std::vector<float> kRow1 = {3.0F, 4.0F, 5.0F};
const std::vector<int32_t> kTokens = {7, -1};

TEST(SafetensorsWriter, WritesRowsInAnyOrderOfTensorsAndReadsThemBack) {
  const TempDir dir;
  const std::string path = dir.file("out.safetensors");
  auto writer = SafetensorsWriter::create(path, kSpecs, {{"model", "baby"}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(writer->append("logits", kRow0).ok());
  ASSERT_TRUE(writer->append("tokens", kTokens).ok());
  ASSERT_TRUE(writer->append("logits", kRow1).ok());
  const Status committed = writer->commit();
  ASSERT_TRUE(committed.ok()) << committed.message();

  const auto logits = read_f32(path, "logits");
  ASSERT_TRUE(logits.ok()) << logits.status().message();
  EXPECT_THAT(logits->shape, ElementsAre(2, 3));
  EXPECT_THAT(logits->values, ElementsAre(0.5F, -1.0F, 2.0F, 3.0F, 4.0F, 5.0F));
  const auto tokens = read_i32(path, "tokens");
  ASSERT_TRUE(tokens.ok()) << tokens.status().message();
  EXPECT_THAT(tokens->values, ElementsAre(7, -1));
  EXPECT_EQ(dir.n_files(), 1U);
  const auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file.ok());
  const auto bytes = MappedFile::open(path);
  ASSERT_TRUE(bytes.ok());
  const std::string text(reinterpret_cast<const char*>(bytes->bytes().data()), 60);
  EXPECT_THAT(text, HasSubstr(R"({"__metadata__":{"model":"baby"})"));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file->find("logits")->data.data()) % 8, 0U);
}

TEST(SafetensorsWriter, LeavesTheOldFileAndNothingElseWithoutACommit) {
  const TempDir dir;
  const std::string path = dir.write("out.safetensors", "old");
  {
    auto writer = SafetensorsWriter::create(path, kSpecs);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->append("logits", kRow0).ok());
    const Status status = writer->commit();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr(R"("logits": 3 values, want 6)"));
    EXPECT_EQ(dir.n_files(), 2U);
    SafetensorsWriter moved = std::move(writer).value();
  }
  EXPECT_EQ(dir.n_files(), 1U);
  const auto left = MappedFile::open(path);
  ASSERT_TRUE(left.ok());
  EXPECT_EQ(left->bytes().size(), 3U);
}

TEST(SafetensorsWriter, ReplacesTheOldFileOnCommit) {
  const TempDir dir;
  const std::string path = dir.write("out.safetensors", "old");
  auto writer = SafetensorsWriter::create(path, {{"t", ElementType::kI32, {}}});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->append("t", std::vector<int32_t>{9}).ok());
  ASSERT_TRUE(writer->commit().ok());
  EXPECT_THAT(read_i32(path, "t")->values, ElementsAre(9));
  EXPECT_EQ(writer->commit().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(writer->append("t", kTokens).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(dir.n_files(), 1U);
}

TEST(SafetensorsWriter, RemovesItsTemporaryFileWhenTheTargetCannotBeReplaced) {
  const TempDir dir;
  {
    auto writer = SafetensorsWriter::create(dir.file("target"), {});
    ASSERT_TRUE(writer.ok());
    std::filesystem::create_directories(dir.file("target/inside"));
    const Status status = writer->commit();
    EXPECT_EQ(status.code(), StatusCode::kIoError);
    EXPECT_THAT(status.message(), HasSubstr("cannot replace"));
  }
  EXPECT_EQ(dir.n_files(), 1U);
}

TEST(SafetensorsWriter, RefusesToReplaceWhatIsNoRegularFile) {
  const TempDir dir;
  ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
  std::filesystem::create_directory(dir.file("folder"));
  std::filesystem::create_symlink("pipe", dir.file("link"));
  std::filesystem::create_symlink("loop", dir.file("loop"));
  for (const std::string& path : {dir.file("pipe"), dir.file("folder"), dir.file("link"),
                                  std::string("/dev/null"), std::string()}) {
    const Status status = SafetensorsWriter::create(path, {}).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << path;
    EXPECT_THAT(status.message(), ::testing::StartsWith(path.empty() ? "\"\"" : path + ": "));
  }
  EXPECT_EQ(SafetensorsWriter::create(dir.file("loop"), {}).status().code(), StatusCode::kIoError);
  EXPECT_EQ(dir.n_files(), 4U);
}

TEST(SafetensorsWriter, WritesTheFileThatALinkNames) {
  const TempDir dir;
  std::filesystem::create_directory(dir.file("sub"));
  dir.write("sub/old", "old");
  std::filesystem::create_symlink("sub/old", dir.file("first"));
  std::filesystem::create_symlink(dir.file("first"), dir.file("second"));
  std::filesystem::create_symlink("sub/new", dir.file("dangling"));
  for (const char* link : {"second", "dangling"}) {
    auto writer = SafetensorsWriter::create(dir.file(link), {{"t", ElementType::kI32, {}}});
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    ASSERT_TRUE(writer->append("t", std::vector<int32_t>{9}).ok());
    ASSERT_TRUE(writer->commit().ok());
    EXPECT_TRUE(std::filesystem::is_symlink(dir.file(link)));
  }
  EXPECT_THAT(read_i32(dir.file("sub/old"), "t")->values, ElementsAre(9));
  EXPECT_THAT(read_i32(dir.file("sub/new"), "t")->values, ElementsAre(9));
}

TEST(SafetensorsWriter, NamesTheTargetWhenItCannotBeCreated) {
  const std::string path = "/no/such/directory/out";
  EXPECT_EQ(SafetensorsWriter::create(path, {}).status().message(),
            path + ": cannot create: No such file or directory");
}

TEST(SafetensorsWriter, RefusesValuesThatDoNotFitTheDeclaration) {
  const TempDir dir;
  auto writer = SafetensorsWriter::create(dir.file("f"), kSpecs);
  ASSERT_TRUE(writer.ok());
  EXPECT_THAT(writer->append("tokens", kRow0).message(), HasSubstr("given F32 values, want I32"));
  EXPECT_THAT(writer->append("none", kRow0).message(), HasSubstr("no tensor \"none\""));
  ASSERT_TRUE(writer->append("tokens", kTokens).ok());
  EXPECT_THAT(writer->append("tokens", kTokens).message(),
              HasSubstr("2 more values, want at most 0"));
}

TEST(SafetensorsWriter, RefusesDeclarationsThatMakeNoFile) {
  const TempDir dir;
  const std::vector<std::vector<TensorSpec>> bad = {
      {{"a", ElementType::kF32, {-1}}},
      {{"a", ElementType::kF32, {int64_t{1} << 40, int64_t{1} << 40}}},
      {{"a", ElementType::kF32, {int64_t{1} << 61}}},
      {{"a", ElementType::kF32, {int64_t{1} << 59}},
       {"b", ElementType::kF32, {int64_t{1} << 59}},
       {"c", ElementType::kF32, {int64_t{1} << 59}}},
      {{"a", ElementType::kF32, {1}}, {"a", ElementType::kI32, {1}}},
      {{"__metadata__", ElementType::kF32, {1}}},
      {{"\xFF", ElementType::kF32, {1}}},
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    const auto writer = SafetensorsWriter::create(dir.file("f"), bad[i]);
    EXPECT_EQ(writer.status().code(), StatusCode::kInvalidArgument) << "case " << i;
  }
  EXPECT_EQ(dir.n_files(), 0U);
  EXPECT_EQ(SafetensorsWriter::create(dir.file("no/such/dir"), {}).status().code(),
            StatusCode::kIoError);
}

TEST(SafetensorsValues, NarrowI64WhenEveryValueFits) {
  const TempDir dir;
  const std::string header = R"({"t":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})";
  const std::string fits = dir.write("fits", safetensors_bytes(header, 0) + length_bytes(70000));
  EXPECT_THAT(read_i32(fits, "t")->values, ElementsAre(70000));
  const std::string large =
      dir.write("large", safetensors_bytes(header, 0) + length_bytes(uint64_t{1} << 31));
  EXPECT_EQ(read_i32(large, "t").status().code(), StatusCode::kCorruption);
  EXPECT_THAT(read_i32(large, "t").status().message(), HasSubstr("2147483648"));
}

TEST(SafetensorsValues, SayWhichTypeWasThereInstead) {
  const TempDir dir;
  const std::string path = dir.write("f", small_safetensors());
  EXPECT_EQ(read_f32(path, "a")->values.size(), 4U);
  EXPECT_THAT(read_i32(path, "a").status().message(), HasSubstr(R"("a": F32, want I32 or I64)"));
  EXPECT_THAT(read_f32(path, "c").status().message(), HasSubstr(R"("c": BF16, want F32)"));
  EXPECT_EQ(read_f32(path, "z").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(read_f32(dir.file("no"), "a").status().code(), StatusCode::kNotFound);
}

TEST(SafetensorsValues, ReadTheExpectedOutputsOfTheModelOfThisRepository) {
  const std::string path = DSA_SOURCE_DIR "/tests/checkpoints/baby-v32/expected_fp32.safetensors";
  const auto tokens = read_i32(path, "tokens");
  const auto logits = read_f32(path, "logits");
  ASSERT_TRUE(tokens.ok() && logits.ok());
  EXPECT_THAT(tokens->shape, ElementsAre(512));
  EXPECT_THAT(logits->shape, ElementsAre(512, 2048));
  EXPECT_EQ(logits->values.size(), size_t{512} * 2048);
}

}  // namespace
}  // namespace dsa
