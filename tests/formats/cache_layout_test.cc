#include "formats/cache_layout.h"

#include <gtest/gtest.h>

#include <tuple>
#include <utility>

#include "formats/dtype.h"

namespace dsa {
namespace {

TEST(LatentLayout, Fp8RowIsCodesThenScalesThenTheRopeKeyInBf16) {
  constexpr LatentLayout kRow = {CacheFormat::kFp8, 512, 64};
  EXPECT_EQ(kRow.n_scales(), 4U);
  EXPECT_EQ(kRow.scale_offset(), 512U);
  EXPECT_EQ(kRow.rope_offset(), 528U);
  EXPECT_EQ(kRow.row_bytes(), 656U);
}

TEST(LatentLayout, ALastGroupThatIsNotFullHasAScaleToo) {
  for (const auto& [d_latent, n_scales] : {std::pair<size_t, size_t>{1, 1}, {128, 1}, {130, 2}}) {
    const LatentLayout row = {CacheFormat::kFp8, d_latent, 2};
    EXPECT_EQ(row.n_scales(), n_scales) << d_latent;
    EXPECT_EQ(row.row_bytes(), d_latent + 4 * n_scales + 4) << d_latent;
  }
}

TEST(LatentLayout, WideFormatsHaveNoScales) {
  EXPECT_EQ((LatentLayout{CacheFormat::kBF16, 512, 64}.row_bytes()), 1152U);
  EXPECT_EQ((LatentLayout{CacheFormat::kF32, 512, 64}.row_bytes()), 2304U);
}

TEST(IndexKeyLayout, OnlyFp8KeysAreFollowedByScales) {
  EXPECT_EQ((IndexKeyLayout{CacheFormat::kFp8, 128}.key_bytes()), 128U);
  EXPECT_EQ((IndexKeyLayout{CacheFormat::kBF16, 128}.key_bytes()), 256U);
  EXPECT_EQ((IndexKeyLayout{CacheFormat::kF32, 128}.key_bytes()), 512U);
}

TEST(DType, SizesAreThoseOfTheNames) {
  for (const auto& [dtype, name, bytes] :
       {std::tuple{DType::kF32, "F32", 4}, std::tuple{DType::kF16, "F16", 2},
        std::tuple{DType::kBF16, "BF16", 2}, std::tuple{DType::kE4M3, "F8_E4M3", 1},
        std::tuple{DType::kI32, "I32", 4}, std::tuple{DType::kI64, "I64", 8},
        std::tuple{DType::kU8, "U8", 1}}) {
    EXPECT_STREQ(dtype_name(dtype), name);
    EXPECT_EQ(dtype_bytes(dtype), static_cast<size_t>(bytes)) << name;
  }
}

}  // namespace
}  // namespace dsa
