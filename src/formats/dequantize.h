// What the stored bytes of each weight format mean, as f32 values: the definition that every
// kernel's dequantize_row matches bit for bit. Not for inner loops, and not for tier files (see
// docs/architecture.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "formats/dtype.h"
#include "formats/float_bits.h"
#include "formats/weight_format.h"

namespace dsa {

// n_blocks blocks from any address -> n_blocks * block_values values.
using DequantizeFn = void (*)(const void* blocks, size_t n_blocks, float* out);

template <class Bits, auto kDecode>
void dequantize_each(const void* blocks, size_t n_blocks, float* out) {
  const auto* bytes = static_cast<const uint8_t*>(blocks);
  for (size_t i = 0; i < n_blocks; ++i) {
    Bits bits;
    std::memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
    out[i] = kDecode(bits);
  }
}

inline void dequantize_f32(const void* blocks, size_t n_blocks, float* out) {
  if (n_blocks > 0) std::memcpy(out, blocks, n_blocks * sizeof(float));
}

// Without the scale of a format that has a separate one. Indexed by DType.
inline constexpr DequantizeFn kDequantize[] = {
    dequantize_f32,                          // F32
    dequantize_each<uint16_t, f16_to_f32>,   // F16
    dequantize_each<uint16_t, bf16_to_f32>,  // BF16
    dequantize_each<uint8_t, e4m3_to_f32>,   // F8_E4M3
};
static_assert(std::size(kDequantize) == kNumWeightFormats);

// n values in whole blocks. dtype: a weight format.
inline void dequantize(DType dtype, const void* blocks, size_t n, float* out) {
  kDequantize[static_cast<size_t>(dtype)](blocks, n / weight_format(dtype).block_values, out);
}

// All values of a tensor.
inline std::vector<float> dequantize(DType dtype, std::span<const std::byte> bytes) {
  const WeightFormat& format = weight_format(dtype);
  std::vector<float> values(bytes.size() / format.block_bytes * format.block_values);
  dequantize(dtype, bytes.data(), values.size(), values.data());
  return values;
}

}  // namespace dsa
