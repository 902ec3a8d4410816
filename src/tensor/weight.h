// A weight matrix as it lies in the checkpoint: one type for every way of storing it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/dtype.h"

namespace dsa {

// [rows, cols], row-major, read in place.
//   F32, F16, BF16   the values
//   F8_E4M3          codes; element (r, c) is multiplied by
//                    scale[(first_row + r) / 128 * scale_ld + c / 128]
struct Weight {
  DType dtype = DType::kF32;
  const uint8_t* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  const float* scale = nullptr;  // F8_E4M3 only: [ceil(rows/128), ceil(cols/128)] of the whole
  size_t scale_ld = 0;
  size_t first_row = 0;  // of a slice, within the matrix the scales belong to

  Weight row_slice(size_t begin, size_t n_rows) const {
    Weight slice = *this;
    slice.data += begin * cols * dtype_bytes(dtype);
    slice.rows = n_rows;
    slice.first_row += begin;
    return slice;
  }

  size_t bytes() const { return rows * cols * dtype_bytes(dtype); }
};

}  // namespace dsa
