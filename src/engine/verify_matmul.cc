#include <algorithm>

#include "engine/verify_checks.h"
#include "formats/cache_layout.h"
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
  args.w = {w.bytes.data(), w.view.ld, w.view.scale, w.view.scale_ld, 0, 0};
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

void verify_family(const kernels::MatmulByWeight& family,
                   DType a_type,
                   bool transposed,
                   const ReportCheck& report) {
  const struct {
    DType dtype;
    kernels::MatmulFn fn;
  } kernels_by_type[] = {{DType::kF32, family.f32},
                         {DType::kF16, family.f16},
                         {DType::kBF16, family.bf16},
                         {DType::kE4M3, family.e4m3}};
  for (const auto& [dtype, fn] : kernels_by_type) {
    if (fn == nullptr) continue;
    CaseLog log;
    for (const Shape& shape : kShapes)
      check_product(fn, shape, a_type, dtype, transposed, &log);
    report(std::string(transposed ? "matmul_nt/" : "matmul_nn/") + dtype_name(a_type) + "x" +
               dtype_name(dtype),
           log);
  }
}

}  // namespace

void verify_matmul_kernels(const kernels::MatmulKernels& kernels, const ReportCheck& report) {
  verify_family(kernels.nt_f32, DType::kF32, true, report);
  verify_family(kernels.nt_bf16, DType::kBF16, true, report);
  verify_family(kernels.nn_f32, DType::kF32, false, report);
  verify_family(kernels.nn_bf16, DType::kBF16, false, report);
}

}  // namespace dsa
