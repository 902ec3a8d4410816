#include "model/block_scales.h"

#include <gmock/gmock.h>

#include <string>

#include "io/open_source.h"
#include "tests/io/safetensors_bytes.h"
#include "tests/io/temp_dir.h"

namespace dsa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The scales of a matrix "w.weight" [129, 2], from one tensor of four bytes or fewer.
Result<BlockScales> read(const std::string& name, const std::string& dtype, std::string bytes) {
  const TempDir dir;
  const std::string header = R"({")" + name + R"(":{"dtype":")" + dtype +
                             R"(","shape":[2,1],"data_offsets":[0,)" +
                             std::to_string(bytes.size()) + "]}}";
  const auto opened = open_source(dir.write("x.safetensors", safetensors_bytes(header, 0) + bytes));
  EXPECT_TRUE(opened.ok()) << opened.status().message();
  return read_block_scales(*opened->tensors, "w.weight", 129, 2);
}

TEST(BlockScales, AreReadInEveryTypeAndUnderBothNames) {
  const std::string f32("\0\0\x40\x3F\0\0\0\x40", 8);  // 0.75, 2
  const std::string bf16("\x40\x3F\0\x40", 4);
  const std::string e8m0("\x7E\x80", 2);  // 2^-1, 2^1
  for (const char* name : {"w.weight_scale_inv", "w.weight_scale"}) {
    EXPECT_THAT(read(name, "F32", f32)->values, ElementsAre(0.75F, 2.0F)) << name;
    EXPECT_THAT(read(name, "BF16", bf16)->values, ElementsAre(0.75F, 2.0F)) << name;
    const auto powers = read(name, "F8_E8M0", e8m0);
    ASSERT_TRUE(powers.ok()) << powers.status().message();
    EXPECT_THAT(powers->values, ElementsAre(0.5F, 2.0F)) << name;
    EXPECT_EQ(powers->name, name);
    EXPECT_EQ(powers->n_bytes, 2);
    EXPECT_TRUE(is_block_scales(name));
  }
  EXPECT_FALSE(is_block_scales("w.weight"));
}

TEST(BlockScales, AreRefusedWhereTheyAreNoScales) {
  EXPECT_THAT(read("w.weight_scale", "F8_E8M0", "\x7F\xFF").status().message(),
              HasSubstr("scale 1 is nan, want a finite value"));
  EXPECT_THAT(read("w.weight_scale", "F8_E8M0", "\x7F").status().message(), HasSubstr("shape"));
  EXPECT_THAT(read("w.weight_scale", "F16", "abcd").status().message(), HasSubstr("F16, want"));
  EXPECT_EQ(read("v.weight_scale", "F32", std::string(8, '\0')).status().code(),
            StatusCode::kNotFound);
}

}  // namespace
}  // namespace dsa
