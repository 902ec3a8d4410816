// The formats a weight matrix may be stored in: one row each. A row of a matrix is a sequence of
// blocks, which are read from left to right without a gap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>

namespace dsa {

// Of anything that is stored: weight formats first, in the order of their table.
enum class DType : uint8_t { kF32, kF16, kBF16, kE4M3, kI32, kI64, kU8 };

// What the other factor of a product may be rounded to. Rows of activations are produced in f32;
// their twins in other formats are prepared for the weights that want them.
enum class ActivationFormat : uint8_t { kF32, kBF16 };
inline constexpr size_t kActivationFormats = 2;

struct WeightFormat {
  DType dtype;
  const char* name;     // as safetensors spells it
  size_t block_values;  // values per block; a slice of columns begins and ends at its borders
  size_t block_bytes;
  ActivationFormat wants;  // what products in the engine's fast precision round activations to
  bool scale_grid;         // values are multiplied by a separate f32 scale per 128 x 128 block
};

inline constexpr WeightFormat kWeightFormats[] = {
    {DType::kF32, "F32", 1, 4, ActivationFormat::kF32, false},
    {DType::kF16, "F16", 1, 2, ActivationFormat::kF32, false},
    {DType::kBF16, "BF16", 1, 2, ActivationFormat::kBF16, false},
    {DType::kE4M3, "F8_E4M3", 1, 1, ActivationFormat::kBF16, true},
};
inline constexpr size_t kNumWeightFormats = std::size(kWeightFormats);

constexpr bool is_weight_format(DType dtype) {
  return static_cast<size_t>(dtype) < kNumWeightFormats;
}

// dtype: a weight format.
constexpr const WeightFormat& weight_format(DType dtype) {
  return kWeightFormats[static_cast<size_t>(dtype)];
}

// Bytes of a row before its value n; nothing where that is inside a block.
constexpr std::optional<size_t> bytes_before(const WeightFormat& format, size_t n) {
  if (n % format.block_values != 0) return std::nullopt;
  return n / format.block_values * format.block_bytes;
}

constexpr bool weight_formats_in_order() {
  for (size_t i = 0; i < kNumWeightFormats; ++i) {
    if (static_cast<size_t>(kWeightFormats[i].dtype) != i) return false;
  }
  return true;
}
static_assert(weight_formats_in_order(), "a table of kernels is indexed by DType");

}  // namespace dsa
