// A weight matrix as it lies in the checkpoint: one type for every format of the table in
// formats/weight_format.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "formats/weight_format.h"

namespace dsa {

// [rows, cols], row-major, read in place. Where the format has a separate scale grid, the value at
// (r, c) is multiplied by scale[(first_row + r) / 128 * scale_ld + (first_col + c) / 128].
struct Weight {
  DType dtype = DType::kF32;  // a weight format
  const uint8_t* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;               // a multiple of the format's block
  size_t row_bytes = 0;          // from one row to the next
  const float* scale = nullptr;  // [ceil(rows/128), ceil(cols/128)] of the whole matrix
  size_t scale_ld = 0;
  size_t first_row = 0;  // of a slice, within the matrix the scales belong to
  size_t first_col = 0;

  // Rows without a gap between them.
  static Weight dense(DType dtype, const void* data, size_t rows, size_t cols) {
    Weight weight;
    weight.dtype = dtype;
    weight.data = static_cast<const uint8_t*>(data);
    weight.rows = rows;
    weight.cols = cols;
    weight.row_bytes = bytes_of(dtype, cols);
    return weight;
  }

  // Bytes of n values of a row; n: a multiple of the format's block.
  static size_t bytes_of(DType dtype, size_t n) {
    const WeightFormat& format = weight_format(dtype);
    return n / format.block_values * format.block_bytes;
  }

  Weight row_slice(size_t begin, size_t n_rows) const {
    Weight slice = *this;
    slice.data += begin * row_bytes;
    slice.rows = n_rows;
    slice.first_row += begin;
    return slice;
  }

  // Columns [begin, begin + n_cols); nothing where that does not begin and end between blocks.
  std::optional<Weight> column_slice(size_t begin, size_t n_cols) const {
    const std::optional<size_t> skipped = bytes_before(weight_format(dtype), begin);
    if (!skipped || !bytes_before(weight_format(dtype), begin + n_cols)) return std::nullopt;
    Weight slice = *this;
    slice.data += *skipped;
    slice.cols = n_cols;
    slice.first_col += begin;
    return slice;
  }

  size_t bytes() const { return rows * bytes_of(dtype, cols); }
};

}  // namespace dsa
