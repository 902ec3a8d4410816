#include <algorithm>

#include "engine/verify_checks.h"
#include "formats/cache_layout.h"
#include "formats/dequantize.h"
#include "formats/dtype.h"
#include "reference/matmul.h"

namespace dsa {

namespace {

// A random matrix in a storage type, with the scales an e4m3 one needs.
struct Stored {
  reference::StoredMatrix view;
  std::vector<uint8_t> bytes;
  std::vector<float> scale;

  Stored(DType dtype, size_t rows, size_t cols, VerifyRandom* random)
      : bytes(rows * cols * dtype_bytes(dtype) + 4) {
    for (size_t i = 0; i < rows * cols; ++i)
      put(dtype, i, random);
    view.dtype = dtype;
    view.data = bytes.data();
    view.rows = rows;
    view.cols = cols;
    view.ld = cols;
    if (dtype != DType::kE4M3) return;
    view.scale_ld = ceil_div(cols, kWeightBlock);
    scale = random->values(ceil_div(rows, kWeightBlock) * view.scale_ld);
    view.scale = scale.data();
  }
  Stored(const Stored&) = delete;
  Stored& operator=(const Stored&) = delete;

 private:
  void put(DType dtype, size_t i, VerifyRandom* random) {
    const float value = random->value();
    const uint16_t bf16 = f32_to_bf16(value);
    // Any half but infinities and NaN: exponents 1 to 16 of 31.
    const auto half = static_cast<uint16_t>(random->bits() & 0xBFFFU);
    const uint8_t code = f32_to_e4m3(value);
    const void* source = &value;
    if (dtype == DType::kBF16) source = &bf16;
    if (dtype == DType::kF16) source = &half;
    if (dtype == DType::kE4M3) source = &code;
    const size_t size = dtype_bytes(dtype);
    std::copy_n(static_cast<const uint8_t*>(source), size, bytes.data() + i * size);
  }
};

struct Shape {
  size_t m, n, k;
};
constexpr Shape kShapes[] = {{1, 1, 1}, {1, 40, 300}, {3, 17, 129}, {9, 130, 64}, {70, 33, 200}};

void check_product(kernels::MatmulFn fn,
                   const Shape& shape,
                   DType a_type,
                   DType w_type,
                   bool transposed,
                   CaseLog* log) {
  VerifyRandom random(shape.m * 1000 + shape.n);
  const Stored a(a_type, shape.m, shape.k, &random);
  const Stored w(w_type, transposed ? shape.n : shape.k, transposed ? shape.k : shape.n, &random);
  std::vector<float> c(shape.m * shape.n, 1.0F);
  kernels::MatmulArgs args;
  args.a = a.bytes.data();
  args.lda = shape.k;
  args.m = shape.m;
  args.w = {w.bytes.data(), w.view.ld * dtype_bytes(w_type), w.view.scale, w.view.scale_ld};
  args.n = shape.n;
  args.k = shape.k;
  args.c = c.data();
  args.ldc = shape.n;
  args.accumulate = true;
  fn(args);
  reference::Matrix weights = reference::widen(w.view);
  if (transposed) weights = reference::transpose(weights);
  const reference::Product want =
      reference::multiply(reference::widen(a.view), weights, shape.m, shape.n, shape.k);
  // Forward bound of a sum of k products and the value it is added to.
  const double relative = (static_cast<double>(shape.k) + 4) * 0x1p-23;
  for (size_t i = 0; i < c.size(); ++i) {
    log->compare(static_cast<double>(c[i]), want.value.values[i] + 1.0,
                 relative * (want.magnitude.values[i] + 1.0));
  }
}

void verify_family(const kernels::MatmulKernels& kernels,
                   ActivationFormat activation,
                   bool transposed,
                   const ReportCheck& report) {
  const DType a_type = activation == ActivationFormat::kF32 ? DType::kF32 : DType::kBF16;
  for (const WeightFormat& format : kWeightFormats) {
    const kernels::MatmulFn fn = kernels.product(transposed, activation, format.dtype);
    if (fn == nullptr) continue;
    CaseLog log;
    for (const Shape& shape : kShapes)
      check_product(fn, shape, a_type, format.dtype, transposed, &log);
    report(std::string(transposed ? "matmul_nt/" : "matmul_nn/") + dtype_name(a_type) + "x" +
               format.name,
           log);
  }
}

void verify_dequantize(kernels::DequantizeRowFn fn, DType dtype, CaseLog* log) {
  constexpr size_t kRows = 3;
  constexpr size_t kCols = 300;
  VerifyRandom random(17);
  const Stored w(dtype, kRows, kCols, &random);
  const kernels::WeightView view = {w.bytes.data(), kCols * dtype_bytes(dtype), w.view.scale,
                                    w.view.scale_ld};
  std::vector<float> want(kRows * kCols);
  dequantize(dtype, w.bytes.data(), want.size(), want.data());
  std::vector<float> row(kCols);
  for (size_t r = 0; r < kRows; ++r) {
    fn(view, r, 0, kCols, row.data());
    for (size_t c = 0; c < kCols; ++c) {
      const float scale = w.view.scale == nullptr ? 1.0F : w.view.scale[c / kWeightBlock];
      log->compare(static_cast<double>(row[c]), static_cast<double>(want[r * kCols + c] * scale),
                   0);
    }
  }
}

}  // namespace

void verify_matmul_kernels(const kernels::MatmulKernels& kernels, const ReportCheck& report) {
  for (const bool transposed : {true, false}) {
    verify_family(kernels, ActivationFormat::kF32, transposed, report);
    verify_family(kernels, ActivationFormat::kBF16, transposed, report);
  }
  for (const WeightFormat& format : kWeightFormats) {
    CaseLog log;
    verify_dequantize(kernels.dequantize_row[static_cast<size_t>(format.dtype)], format.dtype,
                      &log);
    report(std::string("dequantize_row/") + format.name, log);
  }
}

}  // namespace dsa
