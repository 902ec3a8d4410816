// Products of whole weights: by way of dequantised rows, of slices, and what twin they read.
#include "ops/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "dsa/thread_pool.h"

#include "ops/dequantized_product.h"
#include "reference/matmul.h"
#include "tests/kernels/matmul_cases.h"
#include "tests/kernels/tiers.h"

namespace dsa {
namespace {

using kernels::KernelTable;
using kernels::MatmulKernels;
using kernels::RandomMatrix;
using reference::Product;

constexpr size_t kM = 70;    // more than the rows of a work item
constexpr size_t kN = 1100;  // more than a panel's columns
constexpr size_t kK = 1300;  // more than a panel's depth

Weight weight_of(const RandomMatrix& matrix) {
  const reference::StoredMatrix& stored = matrix.stored();
  Weight weight = Weight::dense(stored.dtype, stored.data, stored.rows, stored.cols);
  weight.row_bytes = matrix.view().row_bytes;
  weight.scale = matrix.view().scale;
  weight.scale_ld = stored.scale_ld;
  return weight;
}

// Sums of k products of f32 values, and a rounding where scales are multiplied in first.
double tolerance(double magnitude) {
  return static_cast<double>(kK + 8) * 0x1p-24 * magnitude;
}

class WholeMatmul : public kernels::TierTest {
 protected:
  // A copy of the tier's table without any kernel for the format.
  static MatmulKernels without(DType format) {
    MatmulKernels rest = *kernels().matmul;
    for (size_t a = 0; a < kActivationFormats; ++a)
      rest.nt[a][static_cast<size_t>(format)] = rest.nn[a][static_cast<size_t>(format)] = nullptr;
    return rest;
  }
};

void check(const std::vector<float>& c, const Product& want, float base, const char* what) {
  for (size_t i = 0; i < c.size(); ++i) {
    const double exact = want.value.values[i] + static_cast<double>(base);
    ASSERT_LE(std::abs(static_cast<double>(c[i]) - exact),
              tolerance(want.magnitude.values[i] + static_cast<double>(base)))
        << what << " element " << i;
  }
}

TEST_P(WholeMatmul, RunsEveryFormatThroughItsDequantisedRows) {
  for (const WeightFormat& format : kWeightFormats) {
    if (format.dtype == DType::kF32) continue;  // the kernels that take the rows
    const MatmulKernels rest = without(format.dtype);
    KernelTable table = kernels();
    table.matmul = &rest;
    ThreadPool pool(2);
    const OpContext context = {&table, &pool};
    for (const bool transposed : {true, false}) {
      const size_t n = transposed ? 40 : kN;
      const size_t k = transposed ? kK : 90;
      const RandomMatrix a(DType::kF32, kM, k, k, 1);
      const RandomMatrix w(format.dtype, transposed ? n : k, transposed ? k : n,
                           (transposed ? k : n) + 3, 2);
      const reference::Matrix wide = widen(w.stored());
      const Product want =
          multiply(widen(a.stored()), transposed ? transpose(wide) : wide, kM, n, k);
      std::vector<float> c(kM * n, 2.0F);
      const Activation x = {static_cast<const float*>(a.stored().data), nullptr, k};
      const auto product = transposed ? matmul_nt : matmul_nn;
      MatmulJob job = product(context, x, kM, weight_of(w), c.data(), n);
      EXPECT_EQ(job.fn, nullptr);
      run_matmuls(context, {&job, 1});
      check(c, want, 0, format.name);
      job.args.accumulate = true;
      c.assign(c.size(), 2.0F);
      run_here(context, job);
      check(c, want, 2, format.name);
      if (HasFatalFailure()) return;
    }
  }
}

// The contract of the kernels: an element depends on its row of A and on W alone.
TEST_P(WholeMatmul, GivesARowTheSameBitsInABatchThroughDequantisedRows) {
  const RandomMatrix a(DType::kF32, kM, kK, kK, 1);
  const RandomMatrix w(DType::kE4M3, 50, kK, kK, 2);
  kernels::MatmulArgs args;
  args.a = a.stored().data;
  args.lda = kK;
  args.m = kM;
  args.w = w.view();
  args.n = 50;
  args.k = kK;
  args.ldc = 50;
  std::vector<float> whole(kM * 50);
  args.c = whole.data();
  multiply_dequantized(*kernels().matmul, DType::kE4M3, true, args);
  std::vector<float> one(9);
  args.a = static_cast<const float*>(a.stored().data) + 33 * kK;
  args.m = 1;
  args.w.data = static_cast<const uint8_t*>(args.w.data) + 20 * args.w.row_bytes;
  args.w.row0 = 20;
  args.n = 9;
  args.c = one.data();
  multiply_dequantized(*kernels().matmul, DType::kE4M3, true, args);
  for (size_t j = 0; j < one.size(); ++j)
    ASSERT_EQ(one[j], whole[33 * 50 + 20 + j]) << j;
}

TEST_P(WholeMatmul, WithoutProductsClearsCThroughDequantisedRows) {
  kernels::MatmulArgs args;
  float c[6] = {1, 1, 1, 1, 1, 1};
  args.m = 2;
  args.n = 3;
  args.c = c;
  args.ldc = 3;
  multiply_dequantized(*kernels().matmul, DType::kF16, true, args);
  for (const float value : c)
    EXPECT_EQ(value, 0.0F);
}

// A slice of rows and columns is the product with that part of the matrix.
TEST_P(WholeMatmul, MultipliesBySlicesOfRowsAndColumns) {
  ThreadPool pool(2);
  const OpContext context = {&kernels(), &pool};
  for (const WeightFormat& format : kWeightFormats) {
    const RandomMatrix a(DType::kF32, 5, 96, 96, 1);
    const RandomMatrix w(format.dtype, 300, 280, 283, 2);
    const auto slice = weight_of(w).row_slice(131, 40).column_slice(160, 96);
    ASSERT_TRUE(slice.has_value());
    reference::StoredMatrix part = w.stored();
    part.data = static_cast<const uint8_t*>(part.data) + 131 * w.view().row_bytes +
                160 * format.block_bytes;
    part.rows = 40;
    part.cols = 96;
    part.row0 = 131;
    part.col0 = 160;
    const Product want = multiply(widen(a.stored()), transpose(widen(part)), 5, 40, 96);
    std::vector<float> c(5 * 40);
    linear(context, {static_cast<const float*>(a.stored().data), nullptr, 96}, 5, *slice, c.data(),
           40);
    check(c, want, 0, format.name);
  }
}

TEST_P(WholeMatmul, LoadsARowOfEveryFormat) {
  ThreadPool pool(1);
  const OpContext context = {&kernels(), &pool};
  for (const WeightFormat& format : kWeightFormats) {
    const RandomMatrix w(format.dtype, 140, 200, 200, 2);
    const reference::Matrix wide = widen(w.stored());
    std::vector<float> row(200);
    load_row(context, weight_of(w), 130, row.data());
    for (size_t c = 0; c < row.size(); ++c)
      ASSERT_EQ(row[c], static_cast<float>(wide.at(130, c))) << format.name << " column " << c;
  }
}

TEST_P(WholeMatmul, ReadsTheTwinThatTheFormatWants) {
  ThreadPool pool(1);
  OpContext context = {&kernels(), &pool};
  const Weight f32 = Weight::dense(DType::kF32, nullptr, 1, 1);
  const Weight f16 = Weight::dense(DType::kF16, nullptr, 1, 1);
  const Weight bf16 = Weight::dense(DType::kBF16, nullptr, 1, 1);
  const Weight fp8 = Weight::dense(DType::kE4M3, nullptr, 1, 1);
  constexpr ActivationFormat kTwin = ActivationFormat::kBF16;
  EXPECT_FALSE(read_by(context, {&f32, &f16}).contains(kTwin));
  EXPECT_TRUE(read_by(context, {&f32, &bf16}).contains(kTwin));
  EXPECT_TRUE(read_by(context, {&fp8}).contains(kTwin));
  EXPECT_TRUE(read_by(context, DTypeSet{DType::kF16, DType::kE4M3}).contains(kTwin));
  context.f32_products = true;
  EXPECT_FALSE(read_by(context, {&bf16, &fp8}).contains(kTwin));

  // Different values in the twin show which one was read.
  const float one = 1;
  const uint16_t two = f32_to_bf16(2);
  const uint16_t stored = f32_to_bf16(1);
  const Weight w = Weight::dense(DType::kBF16, &stored, 1, 1);
  float c = 0;
  linear(context, {&one, &two, 1}, 1, w, &c, 1);
  EXPECT_EQ(c, 1.0F);
  context.f32_products = false;
  linear(context, {&one, &two, 1}, 1, w, &c, 1);
  EXPECT_EQ(c, 2.0F);
  linear(context, Activation{&one, &two, 1}.without_twins(), 1, w, &c, 1);
  EXPECT_EQ(c, 1.0F);
  // A tier without a kernel for it reads f32.
  const MatmulKernels rest = without(DType::kBF16);
  KernelTable table = kernels();
  table.matmul = &rest;
  context.kernels = &table;
  EXPECT_FALSE(read_by(context, {&bf16}).contains(kTwin));
  linear(context, {&one, &two, 1}, 1, w, &c, 1);
  EXPECT_EQ(c, 1.0F);
}

DSA_INSTANTIATE_TIERS(WholeMatmul);

}  // namespace
}  // namespace dsa
