// Matrix products in f64, written as the definition: the oracle of kernels and operations.
#pragma once

#include <cstddef>
#include <vector>

#include "formats/dtype.h"

namespace dsa::reference {

// A block of a stored matrix: kernels::WeightView with its type and size.
struct StoredMatrix {
  DType dtype = DType::kF32;  // kF32, kF16, kBF16 or kE4M3
  const void* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t ld = 0;
  const float* scale = nullptr;  // kE4M3: of the 128 x 128 block (row0 + r, col0 + c) lies in
  size_t scale_ld = 0;
  size_t row0 = 0;
  size_t col0 = 0;
};

// Row-major f64 matrix.
struct Matrix {
  size_t rows = 0;
  size_t cols = 0;
  std::vector<double> values;

  const double& at(size_t r, size_t c) const { return values[r * cols + c]; }
  double& at(size_t r, size_t c) { return values[r * cols + c]; }
};

Matrix widen(const StoredMatrix& stored);

Matrix transpose(const Matrix& matrix);

// Products of the first k columns of a with the first k rows of w, and the same sums of
// magnitudes, to which rounding errors are relative.
struct Product {
  Matrix value;
  Matrix magnitude;
};

// a: at least [m, k], w: at least [k, n].
Product multiply(const Matrix& a, const Matrix& w, size_t m, size_t n, size_t k);

}  // namespace dsa::reference
