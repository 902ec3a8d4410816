// The scales of a matrix stored in e4m3: one per 128 x 128 block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "io/tensor_source.h"

namespace dsa {

struct BlockScales {
  std::string name;           // of the tensor they come from
  int64_t n_bytes = 0;        // of it
  std::vector<float> values;  // [ceil(rows / 128), ceil(cols / 128)], finite
};

// matrix: the name of the matrix [rows, cols]. The scales are in <matrix>_scale_inv or, as other
// programs call them, <matrix>_scale; both multiply the codes. F32, BF16 or F8_E8M0 (2^(b - 127)).
//   Errors  those of TensorSource::require(); kCorruption: a value that is not finite.
Result<BlockScales> read_block_scales(const TensorSource& source,
                                      const std::string& matrix,
                                      int64_t rows,
                                      int64_t cols);

// The name under which the scales of a matrix are written.
std::string block_scales_name(const std::string& matrix);

// Whether a tensor of that name has scales of another one.
bool is_block_scales(std::string_view name);

}  // namespace dsa
