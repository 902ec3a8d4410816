#include "io/open_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/io/safetensors_bytes.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const char* const kHeader = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

TEST(OpenSource, OpensAFolderWithItsConfiguration) {
  const TempDir dir;
  dir.write("config.json", "{}");
  const std::string file = dir.write("model.safetensors", safetensors_bytes(padded(kHeader), 8));
  auto opened = open_source(dir.path());
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_TRUE(opened->has_config);
  EXPECT_EQ(opened->config_text, "{}");
  EXPECT_EQ(opened->config_path, dir.path() + "/config.json");
  EXPECT_THAT(opened->notes, IsEmpty());
  const auto files = opened->tensors->files();
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files[0].path, file);
  EXPECT_EQ(files[0].tensors[0].name, "a");
  EXPECT_TRUE(opened->tensors->require("a", {2}, {DType::kF32}).ok());
  dir.write("model.safetensors.index.json", "{}");
  EXPECT_THAT(open_source(dir.path())->notes, ElementsAre(HasSubstr("its index is not")));
}

TEST(OpenSource, OpensOneFileWithoutAConfiguration) {
  const TempDir dir;
  const std::string path = dir.write("one.safetensors", safetensors_bytes(padded(kHeader), 8));
  const auto opened = open_source(path);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_FALSE(opened->has_config);
  EXPECT_EQ(opened->tensors->source_name(), path);
  EXPECT_TRUE(opened->tensors->require("a", {2}, {DType::kF32}).ok());
  const Status status = open_model_source(path).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("one file without a config.json, want a folder"));
}

TEST(OpenSource, SaysWhatIsMissing) {
  const TempDir dir;
  const Status nothing = open_source(dir.path() + "/nowhere").status();
  EXPECT_EQ(nothing.code(), StatusCode::kNotFound);
  EXPECT_THAT(nothing.message(), HasSubstr("/nowhere/config.json"));
  EXPECT_EQ(open_source(dir.write("x", "not safetensors")).status().code(),
            StatusCode::kCorruption);
}

}  // namespace
}  // namespace dsa
