#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "formats/float_bits.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/tiers.h"
#include "tests/kernels/vector_cases.h"

namespace dsa::kernels {
namespace {

struct Shape {
  size_t m;
  size_t n;
  size_t k;
};

// Around the extents of tiles, panels and blocks of every tier.
const Shape kShapes[] = {{1, 1, 1},     {3, 2, 5},     {12, 32, 16},  {13, 33, 17}, {25, 31, 40},
                         {24, 64, 256}, {26, 70, 257}, {11, 515, 33}, {40, 16, 520}};

// One accumulator takes all the products of a chunk.
double gemm_error(size_t n) {
  return static_cast<double>(n) * static_cast<double>(std::numeric_limits<float>::epsilon());
}

class Gemm : public TierTest {
 protected:
  Gemm() : scratch_(kGemmScratch) {}

  // a: [m, k], or [k, m] transposed, rows of lda; b alike.
  void run(GemmArgs args) {
    args.scratch = scratch_.data();
    kernels().train->gemm(args);
  }

  // A buffer aligned as the kernel wants its scratch.
  struct Aligned {
    explicit Aligned(size_t n) : values(n + 16) {}
    float* data() {
      void* p = values.data();
      size_t space = values.size() * sizeof(float);
      return static_cast<float*>(std::align(64, kGemmScratch * sizeof(float), p, space));
    }
    std::vector<float> values;
  };
  Aligned scratch_;
};

TEST_P(Gemm, MultipliesInEveryOrientation) {
  for (const Shape& shape : kShapes) {
    const auto [m, n, k] = shape;
    for (const bool a_transposed : {false, true}) {
      for (const bool b_transposed : {false, true}) {
        for (const bool accumulate : {false, true}) {
          const size_t lda = (a_transposed ? m : k) + 3;
          const size_t ldb = (b_transposed ? k : n) + 1;
          const auto a = normal_row((a_transposed ? k : m) * lda, 1);
          const auto b = normal_row((b_transposed ? n : k) * ldb, 2);
          const auto before = normal_row(m * n, 3);
          GuardedBuffer<float> c(m * n, 1);
          for (size_t i = 0; i < m * n; ++i)
            c[i] = before[i];
          GemmArgs args;
          args.a = a.data();
          args.lda = lda;
          args.a_transposed = a_transposed;
          args.b = b.data();
          args.ldb = ldb;
          args.b_transposed = b_transposed;
          args.m = m;
          args.n = n;
          args.k = k;
          args.c = c.data();
          args.ldc = n;
          args.accumulate = accumulate;
          run(args);
          for (size_t i = 0; i < m; ++i) {
            for (size_t j = 0; j < n; ++j) {
              double want = accumulate ? double{before[i * n + j]} : 0.0;
              double size = std::fabs(want);
              for (size_t p = 0; p < k; ++p) {
                const double product = double{a[a_transposed ? p * lda + i : i * lda + p]} *
                                       double{b[b_transposed ? j * ldb + p : p * ldb + j]};
                want += product;
                size += std::fabs(product);
              }
              ASSERT_LE(std::fabs(double{c[i * n + j]} - want), gemm_error(k + 1) * size)
                  << m << " " << n << " " << k << " at " << i << ", " << j;
            }
          }
          ASSERT_TRUE(c.guards_intact()) << m << " " << n << " " << k;
        }
      }
    }
  }
}

TEST_P(Gemm, GivesAnElementTheSameBitsWhereverItLies) {
  const size_t m = 30;
  const size_t n = 70;
  const size_t k = 300;
  const auto a = normal_row(m * k, 4);
  const auto b = normal_row(n * k, 5);
  std::vector<float> whole(m * n);
  GemmArgs args;
  args.a = a.data();
  args.lda = k;
  args.b = b.data();
  args.ldb = k;
  args.b_transposed = true;
  args.m = m;
  args.n = n;
  args.k = k;
  args.c = whole.data();
  args.ldc = n;
  run(args);
  for (size_t i = 0; i < m; i += 7) {
    for (size_t j = 0; j < n; j += 9) {
      float alone = 0;
      GemmArgs one = args;
      one.a = a.data() + i * k;
      one.b = b.data() + j * k;
      one.m = 1;
      one.n = 1;
      one.c = &alone;
      one.ldc = 1;
      run(one);
      EXPECT_EQ(alone, whole[i * n + j]) << i << ", " << j;
    }
  }
}

TEST_P(Gemm, WidensHalfPrecisionMatrices) {
  const size_t m = 14;
  const size_t n = 37;
  const size_t k = 50;
  const auto a = normal_row(m * k, 6);
  const auto b = normal_row(n * k, 7);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    std::vector<uint16_t> bits(n * k);
    std::vector<float> values(n * k);
    for (size_t i = 0; i < n * k; ++i) {
      bits[i] = f32_to_bf16(b[i]);
      if (dtype == DType::kF16) bits[i] = static_cast<uint16_t>(0x3000U + i % 0x800U);
      values[i] = dtype == DType::kF16 ? f16_to_f32(bits[i]) : bf16_to_f32(bits[i]);
    }
    for (const bool transposed : {false, true}) {
      GemmArgs args;
      args.a = a.data();
      args.lda = k;
      args.b_transposed = transposed;
      args.ldb = transposed ? k : n;
      args.m = m;
      args.n = n;
      args.k = k;
      args.ldc = n;
      std::vector<float> got(m * n);
      std::vector<float> want(m * n);
      args.b = values.data();
      args.c = want.data();
      run(args);
      args.b = bits.data();
      args.b_dtype = dtype;
      args.c = got.data();
      run(args);
      EXPECT_EQ(got, want) << dtype_name(dtype) << transposed;
    }
  }
}

TEST_P(Gemm, OfNoProductsIsZeroOrWhatWasThere) {
  std::vector<float> c = {1, 2, 3, 4};
  GemmArgs args;
  args.m = 2;
  args.n = 2;
  args.c = c.data();
  args.ldc = 2;
  args.accumulate = true;
  run(args);
  EXPECT_EQ(c, (std::vector<float>{1, 2, 3, 4}));
  args.accumulate = false;
  run(args);
  EXPECT_EQ(c, (std::vector<float>{0, 0, 0, 0}));
}

TEST_P(Gemm, TransposesMatricesOfAnyShape) {
  for (const auto& [rows, cols] : {std::pair<size_t, size_t>{1, 1}, {16, 16}, {17, 35}, {3, 40}}) {
    const auto from = normal_row(rows * (cols + 2), 8);
    GuardedBuffer<float> to(cols * rows, 0);
    kernels().train->transpose(from.data(), cols + 2, rows, cols, to.data(), rows);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c)
        ASSERT_EQ(to[c * rows + r], from[r * (cols + 2) + c]);
    }
    EXPECT_TRUE(to.guards_intact());
  }
}

DSA_INSTANTIATE_TIERS(Gemm);

}  // namespace
}  // namespace dsa::kernels
