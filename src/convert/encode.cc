#include "convert/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "common/math.h"
#include "formats/cache_layout.h"
#include "formats/dtype.h"
#include "formats/float_bits.h"
#include "model/tensor_table.h"

namespace dsa {
namespace {

// Calls fn(block of columns, first value, number of values) for each run of a block's row.
template <class Fn>
void for_each_run(size_t rows, size_t cols, const Fn& fn) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < cols; c += kWeightBlock) {
      const size_t block = r / kWeightBlock * ceil_div(cols, kWeightBlock) + c / kWeightBlock;
      fn(block, r * cols + c, std::min(kWeightBlock, cols - c));
    }
  }
}

// The smallest power of two by which the block fits; that of a block of zeros is tiny but not 0.
float block_scale(float amax) {
  return std::exp2(std::ceil(std::log2(std::max(amax, kMinAmax) / kE4m3Max)));
}

Encoded encode_fp8(size_t rows, size_t cols, std::span<float> values) {
  Encoded out;
  out.bytes.resize(values.size());
  out.scales.assign(ceil_div(rows, kWeightBlock) * ceil_div(cols, kWeightBlock), 0.0F);
  for_each_run(rows, cols, [&](size_t block, size_t first, size_t n) {
    for (size_t i = first; i < first + n; ++i)
      out.scales[block] = std::max(out.scales[block], std::fabs(values[i]));
  });
  for (float& scale : out.scales)
    scale = block_scale(scale);
  for_each_run(rows, cols, [&](size_t block, size_t first, size_t n) {
    const float scale = out.scales[block];
    for (size_t i = first; i < first + n; ++i) {
      const uint8_t code = f32_to_e4m3(values[i] / scale);
      out.bytes[i] = std::byte{code};
      values[i] = e4m3_to_f32(code) * scale;
    }
  });
  return out;
}

}  // namespace

void apply_block_scales(std::span<float> values,
                        size_t rows,
                        size_t cols,
                        std::span<const float> scales) {
  for_each_run(rows, cols, [&](size_t block, size_t first, size_t n) {
    for (size_t i = first; i < first + n; ++i)
      values[i] *= scales[block];
  });
}

Encoded encode_values(DType type, size_t rows, size_t cols, std::span<float> values) {
  if (type == DType::kE4M3) return encode_fp8(rows, cols, values);
  Encoded out;
  out.bytes.resize(values.size() * dtype_bytes(type));
  if (type == DType::kF32) {
    std::memcpy(out.bytes.data(), values.data(), out.bytes.size());
    return out;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = f32_to_bf16(values[i]);
    std::memcpy(out.bytes.data() + i * sizeof bits, &bits, sizeof bits);
    values[i] = bf16_to_f32(bits);
  }
  return out;
}

DType stored_type(WeightType want, std::string_view name, size_t n_dims, DType now) {
  if (n_dims != 2 || !name.ends_with(".weight")) return now;
  if (want == WeightType::kF32) return DType::kF32;
  const TensorRow* const row = find_tensor_row(name);
  const bool linear = row != nullptr && row->kind == TensorKind::kLinear;
  return want == WeightType::kFp8 && linear ? DType::kE4M3 : DType::kBF16;
}

std::string tensor_kind(std::string_view name) {
  for (const std::string_view prefix : {"model.", "layers."}) {
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  }
  for (const std::string_view suffix : {".weight", ".bias"}) {
    if (suffix == ".weight" && name.ends_with(suffix)) name.remove_suffix(suffix.size());
  }
  std::string kind;
  while (!name.empty()) {
    const size_t dot = std::min(name.find('.'), name.size());
    const std::string_view word = name.substr(0, dot);
    const bool number = word.find_first_not_of("0123456789") == std::string_view::npos;
    if (!number || word.empty()) {
      if (!kind.empty()) kind.push_back('.');
      kind.append(word);
    }
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  return kind;
}

}  // namespace dsa
