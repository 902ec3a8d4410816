#include "tensor/weight.h"

#include <gtest/gtest.h>

#include <vector>

namespace dsa {
namespace {

// A format of blocks, which no test file has: 32 values in 34 bytes.
constexpr WeightFormat kBlocks = {DType::kU8, "BLOCKS", 32, 34, ActivationFormat::kF32, false};

TEST(WeightFormat, CountsBytesBetweenBlocksAndRefusesInsideThem) {
  EXPECT_EQ(bytes_before(kBlocks, 0), 0U);
  EXPECT_EQ(bytes_before(kBlocks, 32), 34U);
  EXPECT_EQ(bytes_before(kBlocks, 96), 102U);
  for (const size_t inside : {1U, 16U, 31U, 33U, 95U})
    EXPECT_EQ(bytes_before(kBlocks, inside), std::nullopt) << inside;
  EXPECT_EQ(bytes_before(weight_format(DType::kBF16), 7), 14U);
}

TEST(WeightFormat, HasItsRowForEveryTypeOfWeights) {
  for (const WeightFormat& format : kWeightFormats) {
    EXPECT_TRUE(is_weight_format(format.dtype));
    EXPECT_EQ(&weight_format(format.dtype), &format);
  }
  for (const DType type : {DType::kI32, DType::kI64, DType::kU8})
    EXPECT_FALSE(is_weight_format(type));
}

TEST(Weight, SlicesRowsAndColumnsOfEveryFormat) {
  const std::vector<uint8_t> bytes(300 * 200 * 4);
  for (const WeightFormat& format : kWeightFormats) {
    SCOPED_TRACE(format.name);
    const Weight whole = Weight::dense(format.dtype, bytes.data(), 300, 200);
    EXPECT_EQ(whole.row_bytes, 200 * format.block_bytes);
    EXPECT_EQ(whole.bytes(), 300 * 200 * format.block_bytes);
    const Weight rows = whole.row_slice(130, 20);
    const auto part = rows.column_slice(64, 96);
    ASSERT_TRUE(part.has_value());
    EXPECT_EQ(part->data, bytes.data() + (130 * 200 + 64) * format.block_bytes);
    EXPECT_EQ(part->rows, 20U);
    EXPECT_EQ(part->cols, 96U);
    EXPECT_EQ(part->row_bytes, whole.row_bytes);
    EXPECT_EQ(part->first_row, 130U);
    EXPECT_EQ(part->first_col, 64U);
    EXPECT_EQ(part->bytes(), 20 * 96 * format.block_bytes);
    const auto again = part->row_slice(3, 4).column_slice(32, 64);
    EXPECT_EQ(again->data, bytes.data() + (133 * 200 + 96) * format.block_bytes);
    EXPECT_EQ(again->first_row, 133U);
    EXPECT_EQ(again->first_col, 96U);
  }
}

}  // namespace
}  // namespace dsa
