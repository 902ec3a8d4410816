#include "reference/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/matmul_cases.h"
#include "tests/kernels/tiers.h"

namespace dsa::kernels {
namespace {

using reference::Matrix;
using reference::Product;

class Matmul : public TierTest {};

constexpr size_t kMaxM = 64;
constexpr size_t kMaxN = 130;
constexpr size_t kMaxK = 300;
constexpr size_t kEveryM[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, kMaxM};
constexpr size_t kEveryN[] = {1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 20, kMaxN};
constexpr size_t kEveryK[] = {1, 2, 31, 32, 33, 127, 128, 129, 160, kMaxK};

// Operands of one kernel, large enough for every shape; shapes use the upper left corner.
struct Operands {
  RandomMatrix a;
  RandomMatrix w;
  Matrix wide_a;
  Matrix wide_w;  // [k, n]

  Operands(const MatmulCase& kernel, size_t row0, size_t col0)
      : a(kernel.activation, kMaxM, kMaxK, kMaxK + 5, 1),
        w(kernel.weight,
          kernel.transposed ? kMaxN : kMaxK,
          kernel.transposed ? kMaxK : kMaxN,
          kMaxK + 7,
          2) {
    w.set_origin(row0, col0);
    refresh(kernel);
  }

  void refresh(const MatmulCase& kernel) {
    wide_a = widen(a.stored());
    wide_w = kernel.transposed ? transpose(widen(w.stored())) : widen(w.stored());
  }

  MatmulArgs args(size_t m, size_t n, size_t k, float* c, size_t ldc) const {
    return {.a = a.stored().data,
            .lda = a.stored().ld,
            .m = m,
            .w = w.view(),
            .n = n,
            .k = k,
            .c = c,
            .ldc = ldc};
  }
};

// Sums of k products in any order are within k eps of the sum of magnitudes (Higham, Accuracy and
// Stability, 3.5); four more roundings: the block scale, the sum over pieces, accumulating into C
// and the bound's own. bf16 products are exact in f32; vdpbf16ps flushes subnormals, which the
// absolute term covers.
double tolerance(size_t k, double magnitude) {
  return static_cast<double>(k + 4) * 0x1p-24 * magnitude + static_cast<double>(k + 1) * 0x1p-125;
}

// Runs one shape and compares every element with the upper left corner of `want`.
void check_shape(const MatmulCase& kernel,
                 MatmulFn fn,
                 const Operands& operands,
                 size_t m,
                 size_t n,
                 size_t k,
                 bool accumulate,
                 const Product& want) {
  const size_t ldc = n + 3;
  GuardedBuffer<float> c((m - 1) * ldc + n, 1);
  for (size_t i = 0; i < c.size(); ++i)
    c[i] = accumulate ? static_cast<float>(i % 7) - 3.0F : std::nanf("");
  const std::vector<float> before(c.data(), c.data() + c.size());

  MatmulArgs args = operands.args(m, n, k, c.data(), ldc);
  args.accumulate = accumulate;
  fn(args);

  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < ldc && i * ldc + j < c.size(); ++j) {
      const float got = c[i * ldc + j];
      const float old = before[i * ldc + j];
      if (j >= n) {  // between the rows
        ASSERT_EQ(std::memcmp(&got, &old, sizeof(got)), 0) << kernel.name() << " wrote a gap";
        continue;
      }
      const double base = accumulate ? double{old} : 0.0;
      const double error = std::abs(double{got} - (want.value.at(i, j) + base));
      ASSERT_LE(error, tolerance(k, want.magnitude.at(i, j) + std::abs(base)))
          << kernel.name() << " m=" << m << " n=" << n << " k=" << k << " i=" << i << " j=" << j;
    }
  }
  ASSERT_TRUE(c.guards_intact()) << kernel.name() << " m=" << m << " n=" << n << " k=" << k;
}

TEST_P(Matmul, StaysWithinTheRoundingBoundForEveryTypeAndShape) {
  for (const MatmulCase& kernel : all_matmuls()) {
    const Operands operands(kernel, 0, 0);
    for (const size_t k : kEveryK) {
      const Product want = multiply(operands.wide_a, operands.wide_w, kMaxM, kMaxN, k);
      for (const size_t m : kEveryM) {
        for (const size_t n : kEveryN) {
          const bool accumulate = (m + n + k) % 2 == 0;
          check_shape(kernel, kernel.in(kernels()), operands, m, n, k, accumulate, want);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(Matmul, FindsTheScaleBlocksOfAWeightThatStartsInsideOne) {
  constexpr size_t kK = 131;
  for (const bool transposed : {true, false}) {
    for (const DType activation : {DType::kF32, DType::kBF16}) {
      const MatmulCase kernel = {transposed, activation, DType::kE4M3};
      for (const size_t row0 : {0UL, 1UL, 60UL, 127UL}) {
        for (const size_t col0 : {0UL, 3UL, 32UL, 127UL}) {
          const Operands operands(kernel, row0, col0);
          const Product want = multiply(operands.wide_a, operands.wide_w, 16, kMaxN, kK);
          for (const size_t m : {1UL, 5UL, 16UL}) {
            check_shape(kernel, kernel.in(kernels()), operands, m, kMaxN, kK, m == 5, want);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// A tier may fold such scales into the weights, and not those of the next block of rows.
TEST_P(Matmul, MultipliesByScalesThatArePowersOfTwoInSomeBlocks) {
  for (const DType activation : {DType::kF32, DType::kBF16}) {
    const MatmulCase kernel = {true, activation, DType::kE4M3};
    for (const size_t row0 : {0UL, 61UL}) {
      for (const size_t col0 : {0UL, 37UL}) {
        Operands operands(kernel, row0, col0);
        operands.w.round_scales();
        operands.refresh(kernel);
        const Product want = multiply(operands.wide_a, operands.wide_w, kMaxM, kMaxN, kMaxK);
        for (const size_t m : {1UL, 2UL, 4UL, 6UL, 7UL, kMaxM}) {
          check_shape(kernel, kernel.in(kernels()), operands, m, kMaxN, kMaxK, m == 4, want);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(Matmul, WithoutProductsClearsCOrLeavesIt) {
  for (const MatmulCase& kernel : all_matmuls()) {
    const Operands operands(kernel, 0, 0);
    const Product nothing = multiply(operands.wide_a, operands.wide_w, 7, 5, 0);
    for (const size_t m : {1UL, 7UL}) {
      check_shape(kernel, kernel.in(kernels()), operands, m, 5, 0, false, nothing);
      check_shape(kernel, kernel.in(kernels()), operands, m, 5, 0, true, nothing);
    }
    kernel.in(kernels())(operands.args(0, 5, 5, nullptr, 5));
    kernel.in(kernels())(operands.args(5, 0, 5, nullptr, 5));
  }
}

TEST(MatmulTiers, AgreeWithinTwiceTheRoundingBound) {
  constexpr size_t kM = 9;
  for (const MatmulCase& kernel : all_matmuls()) {
    const Operands operands(kernel, 5, 9);
    const Product exact = multiply(operands.wide_a, operands.wide_w, kM, kMaxN, kMaxK);
    std::vector<float> scalar(kM * kMaxN);
    kernel.in(scalar_table())(operands.args(kM, kMaxN, kMaxK, scalar.data(), kMaxN));
    for (const KernelTable* table : runnable_tables()) {
      std::vector<float> c(kM * kMaxN);
      kernel.in (*table)(operands.args(kM, kMaxN, kMaxK, c.data(), kMaxN));
      for (size_t at = 0; at < c.size(); ++at) {
        ASSERT_LE(std::abs(double{c[at]} - double{scalar[at]}),
                  2 * tolerance(kMaxK, exact.magnitude.values[at]))
            << kernel.name() << " " << table->tier_name << " element " << at;
      }
    }
  }
}

DSA_INSTANTIATE_TIERS(Matmul);

}  // namespace
}  // namespace dsa::kernels
