// Rows for the tests of VectorKernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace dsa::kernels {

// Around every vector width of every tier, and the rows of real models.
inline std::vector<size_t> row_lengths() {
  std::vector<size_t> lengths;
  for (size_t n = 0; n <= 67; ++n)
    lengths.push_back(n);
  lengths.insert(lengths.end(), {127, 128, 129, 130, 255, 512, 1000, 1536, 7168});
  return lengths;
}

// n values that end where the allocation ends, so that a sanitizer sees a read beyond them, and
// start `offset` elements into it.
template <class T>
class Input {
 public:
  Input(size_t n, size_t offset) : n_(n), offset_(offset), values_(n + offset) {}
  explicit Input(const std::vector<T>& values) : Input(values.size(), 1) {
    for (size_t i = 0; i < n_; ++i)
      values_[offset_ + i] = values[i];
  }

  T* data() { return values_.data() + offset_; }
  const T* data() const { return values_.data() + offset_; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  size_t size() const { return n_; }
  std::span<const T> span() const { return {data(), n_}; }

 private:
  size_t n_;
  size_t offset_;
  std::vector<T> values_;
};

inline Input<float> normal_row(size_t n, uint32_t seed, float mean = 0.0F) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(mean, 1.0F);
  Input<float> row(n, seed % 4);
  for (size_t i = 0; i < n; ++i)
    row[i] = normal(rng);
  return row;
}

inline constexpr double kEps = 0x1p-24;  // half a unit in the last place of an f32

// Relative error of a sum of n terms of one sign, each off by a few eps: no tier adds more than
// n / 4 terms in a row, because the narrowest keeps four sums.
inline double sum_error(size_t n) {
  return (static_cast<double>(n) / 4 + 12) * kEps;
}

}  // namespace dsa::kernels
