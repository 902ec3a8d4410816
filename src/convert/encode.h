// One tensor's values from one stored type to another.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "dsa/convert.h"

#include "formats/dtype.h"

namespace dsa {

// Multiplies values [rows, cols] by the scale of their 128 x 128 block.
void apply_block_scales(std::span<float> values,
                        size_t rows,
                        size_t cols,
                        std::span<const float> scales);

// A matrix as it is to be stored, and the scales of an e4m3 one; `values` become what a reader gets
// back.
struct Encoded {
  std::vector<std::byte> bytes;
  std::vector<float> scales;
};
// type: F32, BF16 or F8_E4M3.
Encoded encode_values(DType type, size_t rows, size_t cols, std::span<float> values);

// The type in which a tensor of that name and shape is stored.
DType stored_type(WeightType want, std::string_view name, size_t n_dims, DType now);

// The name without layer and expert: "model.layers.3.mlp.experts.7.up_proj.weight" ->
// "mlp.experts.up_proj".
std::string tensor_kind(std::string_view name);

}  // namespace dsa
