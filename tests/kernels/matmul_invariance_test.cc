// What the contract in kernels/matmul_kernels.h promises beyond accuracy: an element's bits depend
// on its row of A and on W alone. And what every tier does with values that are not numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "reference/matmul.h"
#include "tests/kernels/matmul_cases.h"
#include "tests/kernels/tiers.h"

namespace dsa::kernels {
namespace {

class MatmulInvariance : public TierTest {};

constexpr size_t kM = 67;   // more than a block of rows of any kernel
constexpr size_t kN = 530;  // more than a strip of columns
// The last but one: two chunks or more of most kernels; the last: a long row.
constexpr size_t kKs[] = {1, 33, 127, 300, 1100, 8200};

struct Operands {
  RandomMatrix a;
  RandomMatrix w;

  Operands(const MatmulCase& kernel, size_t n, size_t k)
      : a(kernel.activation, kM, k, k, 3),
        w(kernel.weight,
          kernel.transposed ? n : k,
          kernel.transposed ? k : n,
          kernel.transposed ? k : n,
          4) {
    w.set_origin(17, 40);
    w.round_scales();
  }
};

// C of rows [i0, i0 + m) and columns [j0, j0 + n), dense.
std::vector<float> product(const MatmulCase& kernel,
                           MatmulFn fn,
                           const Operands& operands,
                           size_t k,
                           size_t i0,
                           size_t m,
                           size_t j0,
                           size_t n) {
  std::vector<float> c(m * n, 0.5F);
  const auto& a = operands.a.stored();
  WeightView w = operands.w.view();
  w.data = static_cast<const unsigned char*>(w.data) +
           (kernel.transposed ? j0 * w.row_bytes : j0 * dtype_bytes(kernel.weight));
  (kernel.transposed ? w.row0 : w.col0) += j0;
  fn({.a = static_cast<const unsigned char*>(a.data) + i0 * a.ld * dtype_bytes(a.dtype),
      .lda = a.ld,
      .m = m,
      .w = w,
      .n = n,
      .k = k,
      .c = c.data(),
      .ldc = n});
  return c;
}

bool same_bits(float a, float b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

TEST_P(MatmulInvariance, ARowHasTheSameBitsInABatchOfAnySize) {
  for (const MatmulCase& kernel : all_matmuls()) {
    const MatmulFn fn = kernel.in(kernels());
    for (const size_t k : kKs) {
      const size_t n_columns = k > 1100 ? 5 : 130;  // more than a block of scales
      const Operands operands(kernel, n_columns, k);
      const std::vector<float> whole = product(kernel, fn, operands, k, 0, kM, 0, n_columns);
      for (const size_t m : {1UL, 2UL, 3UL, 4UL, 5UL, 6UL, 7UL, 16UL, 65UL}) {
        const size_t first = (kM - m) / 2;
        const std::vector<float> part = product(kernel, fn, operands, k, first, m, 0, n_columns);
        for (size_t at = 0; at < part.size(); ++at) {
          ASSERT_TRUE(same_bits(part[at], whole[first * n_columns + at]))
              << kernel.name() << " k=" << k << " m=" << m << " row " << at / n_columns << ": "
              << part[at] << " and in the batch " << whole[first * n_columns + at];
        }
      }
    }
  }
}

TEST_P(MatmulInvariance, AColumnHasTheSameBitsInABlockOfAnyWidth) {
  const std::pair<size_t, size_t> blocks[] = {{0, 1}, {5, 1}, {3, 7}, {64, 64}, {1, 130}, {529, 1}};
  for (const MatmulCase& kernel : all_matmuls()) {
    const MatmulFn fn = kernel.in(kernels());
    for (const size_t k : {33UL, 300UL}) {
      const Operands operands(kernel, kN, k);
      for (const size_t m : {1UL, 3UL, 9UL}) {
        const std::vector<float> whole = product(kernel, fn, operands, k, 0, m, 0, kN);
        for (const auto& [first, n] : blocks) {
          const std::vector<float> part = product(kernel, fn, operands, k, 0, m, first, n);
          for (size_t at = 0; at < part.size(); ++at) {
            ASSERT_TRUE(same_bits(part[at], whole[at / n * kN + first + at % n]))
                << kernel.name() << " k=" << k << " m=" << m << " n=" << n << " column "
                << first + at % n;
          }
        }
      }
    }
  }
}

// Bits of a value that is not a number in a type.
uint32_t nan_bits(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 0x7FC00000U;
    case DType::kF16:
      return 0x7E00U;
    case DType::kBF16:
      return 0x7FC0U;
    default:
      return 0xFFU;
  }
}

TEST_P(MatmulInvariance, NanInAWeightReachesItsColumnAndNoOther) {
  constexpr size_t kK = 160;
  constexpr size_t kColumns = 41;
  for (const MatmulCase& kernel : all_matmuls()) {
    for (const size_t at : {0UL, 31UL, 128UL, kK - 1}) {
      for (const size_t m : {1UL, 8UL}) {
        Operands operands(kernel, kColumns, kK);
        constexpr size_t kColumn = 11;
        operands.w.set_bits(kernel.transposed ? kColumn : at, kernel.transposed ? at : kColumn,
                            nan_bits(kernel.weight));
        const auto c = product(kernel, kernel.in(kernels()), operands, kK, 0, m, 0, kColumns);
        for (size_t i = 0; i < c.size(); ++i) {
          ASSERT_EQ(std::isnan(c[i]), i % kColumns == kColumn)
              << kernel.name() << " k=" << at << " m=" << m << " column " << i % kColumns;
        }
      }
    }
  }
}

TEST_P(MatmulInvariance, NanInAnActivationReachesItsRowAndNoOther) {
  constexpr size_t kK = 160;
  constexpr size_t kColumns = 41;
  for (const MatmulCase& kernel : all_matmuls()) {
    for (const size_t at : {0UL, 130UL, kK - 1}) {
      Operands operands(kernel, kColumns, kK);
      constexpr size_t kRow = 4;
      operands.a.set_bits(kRow, at, nan_bits(kernel.activation));
      const auto c = product(kernel, kernel.in(kernels()), operands, kK, 0, 9, 0, kColumns);
      for (size_t i = 0; i < c.size(); ++i)
        ASSERT_EQ(std::isnan(c[i]), i / kColumns == kRow)
            << kernel.name() << " row " << i / kColumns;
    }
  }
}

TEST_P(MatmulInvariance, InfinityInAnActivationGivesInfinitiesWithTheWeightsSigns) {
  constexpr size_t kK = 33;
  constexpr size_t kColumns = 41;
  for (const MatmulCase& kernel : all_matmuls()) {
    Operands operands(kernel, kColumns, kK);
    operands.a.set_bits(0, 32, kernel.activation == DType::kF32 ? 0x7F800000U : 0x7F80U);
    const reference::Matrix w = widen(operands.w.stored());
    const auto c = product(kernel, kernel.in(kernels()), operands, kK, 0, 1, 0, kColumns);
    for (size_t j = 0; j < kColumns; ++j) {
      const double weight = kernel.transposed ? w.at(j, 32) : w.at(32, j);
      if (weight == 0) {  // infinity times zero
        EXPECT_TRUE(std::isnan(c[j])) << kernel.name() << " column " << j;
      } else {
        EXPECT_EQ(c[j],
                  std::copysign(std::numeric_limits<float>::infinity(), static_cast<float>(weight)))
            << kernel.name() << " column " << j;
      }
    }
  }
}

DSA_INSTANTIATE_TIERS(MatmulInvariance);

}  // namespace
}  // namespace dsa::kernels
