// Every tier's dequantize_row against the definition in formats/dequantize.h, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "formats/dequantize.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/matmul_cases.h"
#include "tests/kernels/tiers.h"

namespace dsa::kernels {
namespace {

constexpr size_t kRows = 131;  // into a second block of scales
constexpr size_t kCols = 300;
constexpr size_t kLd = kCols + 5;

// The values of a row by the definition: the format's, times the scale of their block.
std::vector<float> defined(const RandomMatrix& matrix, size_t row) {
  const reference::StoredMatrix& stored = matrix.stored();
  const WeightFormat& format = weight_format(stored.dtype);
  const auto* bytes = static_cast<const uint8_t*>(stored.data);
  std::vector<float> values(kCols);
  dequantize(stored.dtype, bytes + row * stored.ld * format.block_bytes, kCols, values.data());
  for (size_t c = 0; format.scale_grid && c < kCols; ++c) {
    values[c] *=
        stored.scale[(stored.row0 + row) / 128 * stored.scale_ld + (stored.col0 + c) / 128];
  }
  return values;
}

// NaN: any.
bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
}

class DequantizeRow : public TierTest {};

TEST_P(DequantizeRow, IsThereForEveryFormat) {
  for (const DequantizeRowFn fn : kernels().matmul->dequantize_row)
    EXPECT_NE(fn, nullptr);
}

TEST_P(DequantizeRow, HasTheBitsOfTheDefinitionAtAnyPlaceAndLength) {
  for (const WeightFormat& format : kWeightFormats) {
    const DequantizeRowFn fn = kernels().matmul->dequantize_row[static_cast<size_t>(format.dtype)];
    RandomMatrix matrix(format.dtype, kRows, kCols, kLd, 9);
    matrix.set_origin(17, 40);
    const WeightView view = matrix.view();
    for (const size_t row : {0UL, 1UL, 110UL, 111UL, kRows - 1}) {
      const std::vector<float> want = defined(matrix, row);
      for (const size_t first : {0UL, 1UL, 3UL, 87UL, 88UL, 89UL, 200UL}) {
        for (size_t n = 0; n <= kCols - first; n += n < 70 ? 1 : 10) {
          GuardedBuffer<float> out(n, first % 3);
          fn(view, row, first, n, out.data());
          for (size_t i = 0; i < n; ++i) {
            ASSERT_TRUE(same(out[i], want[first + i]))
                << format.name << " row " << row << " first " << first << " n " << n << " at " << i
                << ": " << out[i] << ", want " << want[first + i];
          }
          ASSERT_TRUE(out.guards_intact()) << format.name << " first " << first << " n " << n;
        }
      }
    }
  }
}

// Every bit pattern of formats of one or two bytes.
TEST_P(DequantizeRow, KnowsEveryPattern) {
  for (const WeightFormat& format : kWeightFormats) {
    if (format.block_values != 1 || format.block_bytes > 2) continue;
    const size_t n = size_t{1} << (8 * format.block_bytes);
    std::vector<uint8_t> bytes(n * format.block_bytes);
    for (size_t i = 0; i < n; ++i)
      std::memcpy(bytes.data() + i * format.block_bytes, &i, format.block_bytes);
    std::vector<float> want(n);
    dequantize(format.dtype, bytes.data(), n, want.data());
    const std::vector<float> scales(n / 128 + 1, 0.37F);
    WeightView view = {bytes.data(), bytes.size()};
    if (format.scale_grid) {
      view.scale = scales.data();
      for (float& value : want)
        value *= 0.37F;
    }
    std::vector<float> out(n);
    kernels().matmul->dequantize_row[static_cast<size_t>(format.dtype)](view, 0, 0, n, out.data());
    for (size_t i = 0; i < n; ++i)
      ASSERT_TRUE(same(out[i], want[i])) << format.name << " pattern " << i;
  }
}

DSA_INSTANTIATE_TIERS(DequantizeRow);

}  // namespace
}  // namespace dsa::kernels
