// The functions of MatmulKernels as one table, and random operands for them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "formats/dtype.h"
#include "formats/float_bits.h"
#include "kernels/kernel_table.h"
#include "reference/matmul.h"

namespace dsa::kernels {

struct MatmulCase {
  bool transposed;  // nt
  DType activation;
  DType weight;

  MatmulFn in(const KernelTable& table) const {
    const ActivationFormat format =
        activation == DType::kF32 ? ActivationFormat::kF32 : ActivationFormat::kBF16;
    return table.matmul->product(transposed, format, weight);
  }

  std::string name() const {
    return std::string(transposed ? "nt " : "nn ") + dtype_name(activation) + " x " +
           dtype_name(weight);
  }
};

inline std::vector<MatmulCase> all_matmuls() {
  std::vector<MatmulCase> cases;
  for (const bool transposed : {true, false}) {
    for (const DType weight : {DType::kF32, DType::kF16, DType::kBF16, DType::kE4M3})
      cases.push_back({transposed, DType::kF32, weight});
    for (const DType weight : {DType::kBF16, DType::kE4M3})
      cases.push_back({transposed, DType::kBF16, weight});
  }
  return cases;
}

// Random bits, cheap where nothing is inlined (Knuth's MMIX generator, upper half).
struct RandomBits {
  uint64_t state;

  uint32_t next() {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<uint32_t>(state >> 32);
  }
  float uniform() { return static_cast<float>(next() >> 8) * 0x1p-23F - 1.0F; }  // [-1, 1)
};

// A random matrix in memory; element (0, 0) lies `offset` elements after the start.
class RandomMatrix {
 public:
  RandomMatrix(DType dtype, size_t rows, size_t cols, size_t ld, uint32_t seed)
      : bytes_(((rows - 1) * ld + cols) * dtype_bytes(dtype) + kOffset * dtype_bytes(dtype)) {
    stored_ = {.dtype = dtype, .rows = rows, .cols = cols, .ld = ld};
    RandomBits random{seed};
    for (size_t i = 0; i < bytes_.size() / dtype_bytes(dtype); ++i)
      put(i, random);
    // Not powers of two: a scale that is applied twice or not at all shows.
    scales_.resize((rows / 128 + 2) * (cols / 128 + 2));
    for (float& scale : scales_)
      scale = 0.02F + 0.01F * random.uniform();
    stored_.data = bytes_.data() + kOffset * dtype_bytes(dtype);
    stored_.scale = scales_.data();
    stored_.scale_ld = cols / 128 + 2;
  }

  const reference::StoredMatrix& stored() const { return stored_; }
  void set_origin(size_t row0, size_t col0) {
    stored_.row0 = row0;
    stored_.col0 = col0;
  }
  void set_bits(size_t row, size_t col, uint32_t bits) {
    const size_t size = dtype_bytes(stored_.dtype);
    std::memcpy(bytes_.data() + (kOffset + row * stored_.ld + col) * size, &bits, size);
  }

  // Scales of both kinds: powers of two in every other block of rows.
  void round_scales() {
    for (size_t i = 0; i < scales_.size(); i += 2 * stored_.scale_ld) {
      for (size_t j = 0; j < stored_.scale_ld; ++j)
        scales_[i + j] = std::exp2(static_cast<float>(j % 5) - 7.0F);
    }
  }

  WeightView view() const {
    return {stored_.data,
            stored_.ld * dtype_bytes(stored_.dtype),
            stored_.dtype == DType::kE4M3 ? stored_.scale : nullptr,
            stored_.scale_ld,
            stored_.row0,
            stored_.col0};
  }

 private:
  static constexpr size_t kOffset = 1;  // misaligned for every vector width

  void put(size_t i, RandomBits& random) {
    const float value = 2 * random.uniform();
    uint32_t bits = 0;
    switch (stored_.dtype) {
      case DType::kF32:
        std::memcpy(&bits, &value, sizeof(bits));
        break;
      case DType::kF16:  // any sign and mantissa, exponents 11 .. 15
        bits = random.next();
        bits = (bits & 0x83FFU) | (11U + bits / 0x10000U % 5U) << 10;
        break;
      case DType::kBF16:
        bits = f32_to_bf16(value);
        break;
      default:  // any code but NaN
        do {
          bits = random.next() & 0xFFU;
        } while ((bits & 0x7FU) == 0x7FU);
    }
    const size_t size = dtype_bytes(stored_.dtype);
    std::memcpy(bytes_.data() + i * size, &bits, size);
  }

  std::vector<unsigned char> bytes_;
  std::vector<float> scales_;
  reference::StoredMatrix stored_;
};

}  // namespace dsa::kernels
