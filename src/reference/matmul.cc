#include "reference/matmul.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "formats/cache_layout.h"
#include "formats/float_bits.h"

namespace dsa::reference {
namespace {

double element(const StoredMatrix& stored, size_t r, size_t c) {
  const size_t index = r * stored.ld + c;
  switch (stored.dtype) {
    case DType::kF32:
      return static_cast<double>(static_cast<const float*>(stored.data)[index]);
    case DType::kF16:
      return static_cast<double>(f16_to_f32(static_cast<const uint16_t*>(stored.data)[index]));
    case DType::kBF16:
      return static_cast<double>(bf16_to_f32(static_cast<const uint16_t*>(stored.data)[index]));
    case DType::kE4M3: {
      const size_t block_row = (stored.row0 + r) / kWeightBlock;
      const size_t block_col = (stored.col0 + c) / kWeightBlock;
      const float scale = stored.scale[block_row * stored.scale_ld + block_col];
      const float code = e4m3_to_f32(static_cast<const uint8_t*>(stored.data)[index]);
      return static_cast<double>(code) * static_cast<double>(scale);
    }
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
      break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

Matrix widen(const StoredMatrix& stored) {
  Matrix wide = {stored.rows, stored.cols, std::vector<double>(stored.rows * stored.cols)};
  for (size_t r = 0; r < stored.rows; ++r) {
    for (size_t c = 0; c < stored.cols; ++c)
      wide.at(r, c) = element(stored, r, c);
  }
  return wide;
}

Matrix transpose(const Matrix& matrix) {
  Matrix flipped = {matrix.cols, matrix.rows, std::vector<double>(matrix.values.size())};
  for (size_t r = 0; r < matrix.rows; ++r) {
    for (size_t c = 0; c < matrix.cols; ++c)
      flipped.at(c, r) = matrix.at(r, c);
  }
  return flipped;
}

Product multiply(const Matrix& a, const Matrix& w, size_t m, size_t n, size_t k) {
  const Matrix zeros = {m, n, std::vector<double>(m * n)};
  Product product = {zeros, zeros};
  for (size_t i = 0; i < m; ++i) {
    for (size_t p = 0; p < k; ++p) {
      for (size_t j = 0; j < n; ++j) {
        const double term = a.at(i, p) * w.at(p, j);
        product.value.at(i, j) += term;
        product.magnitude.at(i, j) += std::abs(term);
      }
    }
  }
  return product;
}

}  // namespace dsa::reference
