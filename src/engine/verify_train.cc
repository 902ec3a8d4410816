// Training kernels: products of any orientation, and the row-wise pieces of the backward pass.
#include <algorithm>
#include <numeric>

#include "engine/verify_checks.h"
#include "reference/matmul.h"
#include "reference/train.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

namespace {

using kernels::LogitRows;
using kernels::TrainKernels;

constexpr size_t kLengths[] = {1, 2, 15, 16, 17, 64, 100, 257};
constexpr float kNormEps = 1e-3F;

double wide(float value) {
  return static_cast<double>(value);
}

// A matrix of the second operand's type, and its values.
struct Operand {
  std::vector<uint16_t> halves;
  std::vector<float> values;

  Operand(DType dtype, size_t n, VerifyRandom* random) : values(random->values(n)) {
    for (float& value : values) {
      if (dtype == DType::kF32) break;
      // Any half but infinities and NaN: exponents 1 to 16 of 31.
      const bool bf16 = dtype == DType::kBF16;
      halves.push_back(bf16 ? f32_to_bf16(value) : static_cast<uint16_t>(random->bits() & 0xBFFFU));
      value = bf16 ? bf16_to_f32(halves.back()) : f16_to_f32(halves.back());
    }
  }
  const void* data() const {
    return halves.empty() ? static_cast<const void*>(values.data()) : halves.data();
  }
};

// A or B as it stands in the product: [rows, cols], stored as its transpose or not.
reference::Matrix as_operand(const std::vector<float>& values,
                             size_t rows,
                             size_t cols,
                             bool transposed) {
  reference::Matrix stored = {
      transposed ? cols : rows, transposed ? rows : cols, {values.begin(), values.end()}};
  return transposed ? reference::transpose(stored) : stored;
}

struct GemmCase {
  size_t m, n, k;
  bool a_transposed, b_transposed;
  DType b_dtype;
};

void check_gemm(const TrainKernels& kernels, const GemmCase& c, CaseLog* log) {
  VerifyRandom random(c.m * 1000 + c.n);
  const std::vector<float> a = random.values(c.m * c.k);
  const Operand b(c.b_dtype, c.k * c.n, &random);
  const bool accumulate = c.m % 2 == 1;
  std::vector<float> out(c.m * c.n, 1.0F);
  const AlignedBuffer scratch =
      AlignedBuffer::allocate(kernels::kGemmScratch * sizeof(float), "product").value();
  kernels::GemmArgs args;
  args.a = a.data();
  args.lda = c.a_transposed ? c.m : c.k;
  args.a_transposed = c.a_transposed;
  args.b = b.data();
  args.ldb = c.b_transposed ? c.k : c.n;
  args.b_transposed = c.b_transposed;
  args.b_dtype = c.b_dtype;
  args.m = c.m;
  args.n = c.n;
  args.k = c.k;
  args.c = out.data();
  args.ldc = c.n;
  args.accumulate = accumulate;
  args.scratch = static_cast<float*>(static_cast<void*>(scratch.data()));
  kernels.gemm(args);
  const reference::Product want =
      reference::multiply(as_operand(a, c.m, c.k, c.a_transposed),
                          as_operand(b.values, c.k, c.n, c.b_transposed), c.m, c.n, c.k);
  const double before = accumulate ? 1.0 : 0.0;
  for (size_t i = 0; i < out.size(); ++i) {
    log->compare(wide(out[i]), want.value.values[i] + before,
                 (static_cast<double>(c.k) + 4) * kEps * (want.magnitude.values[i] + before));
  }
}

void verify_gemm(const TrainKernels& kernels, const ReportCheck& report) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    CaseLog log;
    for (const bool a_transposed : {false, true}) {
      for (const bool b_transposed : {false, true}) {
        for (const auto& [m, n, k] :
             {std::array<size_t, 3>{1, 1, 1}, {3, 17, 129}, {8, 40, 300}, {37, 33, 20}}) {
          check_gemm(kernels, {m, n, k, a_transposed, b_transposed, dtype}, &log);
        }
      }
    }
    report(std::string("gemm/") + dtype_name(dtype), log);
  }
}

void verify_moves(const TrainKernels& kernels, const ReportCheck& report) {
  CaseLog transpose;
  CaseLog dot;
  for (const size_t n : kLengths) {
    VerifyRandom random(n);
    constexpr size_t kRows = 19;
    const std::vector<float> x = random.values(kRows * n);
    std::vector<float> turned(n * kRows);
    kernels.transpose(x.data(), n, kRows, n, turned.data(), kRows);
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t c = 0; c < n; ++c)
        transpose.require(turned[c * kRows + r] == x[r * n + c]);
    }
    const std::vector<float> y = random.values(n);
    double sum = 0;
    double magnitude = 0;
    for (size_t i = 0; i < n; ++i) {
      sum += wide(x[i]) * wide(y[i]);
      magnitude += std::fabs(wide(x[i]) * wide(y[i]));
    }
    dot.compare(wide(kernels.dot(x.data(), y.data(), n)), sum,
                static_cast<double>(n) * kEps * magnitude);
  }
  report("transpose", transpose);
  report("dot", dot);
}

// Three rows of logits: all visible, some, none.
struct Logits {
  static constexpr size_t kRows = 3;
  size_t n;
  std::vector<float> values;
  std::vector<float> lse;
  int32_t limit[kRows];

  Logits(size_t n_columns, VerifyRandom* random)
      : n(n_columns),
        values(random->values(kRows * n)),
        lse(random->values(kRows)),
        limit{static_cast<int32_t>(n) + 5, static_cast<int32_t>(n / 2), -2} {}

  LogitRows rows(std::vector<float>* s) const { return {s->data(), n, kRows, n, limit}; }
  bool visible(size_t i) const { return static_cast<int64_t>(i % n) < limit[i / n]; }
};

void verify_softmax_rows(const TrainKernels& kernels, const ReportCheck& report) {
  CaseLog exp_rows;
  CaseLog add_exp_rows;
  CaseLog backward;
  constexpr float kScale = 0.3F;
  constexpr float kFactor = 2.0F;
  for (const size_t n : kLengths) {
    VerifyRandom random(n + 1);
    const Logits logits(n, &random);
    std::vector<float> p = logits.values;
    kernels.exp_rows(logits.rows(&p), kScale, logits.lse.data());
    std::vector<float> s = logits.values;
    std::vector<float> sum(s.size(), 0.5F);
    kernels.add_exp_rows(logits.rows(&s), kScale, logits.lse.data(), kFactor, sum.data(), n);
    add_exp_rows.require(s == logits.values);
    const std::vector<float> dp = random.values(s.size());
    const std::vector<float> delta = random.values(Logits::kRows);
    std::vector<float> ds = dp;
    kernels.softmax_backward(logits.rows(&ds), p.data(), n, kScale, delta.data());
    for (size_t i = 0; i < s.size(); ++i) {
      const double x = wide(kScale) * wide(s[i]);
      const double lse = wide(logits.lse[i / n]);
      const double want = logits.visible(i) ? std::exp(x - lse) : 0;
      // The argument of exp is rounded, as far as it is from 0.
      const double relative = (16 + 2 * (std::fabs(x) + std::fabs(lse))) * kEps;
      exp_rows.compare(wide(p[i]), want, relative * want);
      add_exp_rows.compare(wide(sum[i]), 0.5 + wide(kFactor) * want,
                           (relative + 2 * kEps) * (0.5 + wide(kFactor) * want));
      const double weight = wide(kScale) * wide(p[i]);
      const double row_delta = wide(delta[i / n]);
      if (!logits.visible(i)) continue;
      backward.compare(wide(ds[i]), weight * (wide(dp[i]) - row_delta),
                       4 * kEps * weight * (std::fabs(wide(dp[i])) + std::fabs(row_delta)));
    }
  }
  report("exp_rows", exp_rows);
  report("add_exp_rows", add_exp_rows);
  report("softmax_backward", backward);
}

void verify_norm_gradients(const TrainKernels& kernels, const ReportCheck& report) {
  CaseLog rms;
  CaseLog layer;
  for (const size_t n : kLengths) {
    if (n < 3) continue;  // what is left of the gradient of so few is rounding
    VerifyRandom random(n + 2);
    const std::vector<float> x = random.values(n);
    const std::vector<float> weight = random.values(n);
    const std::vector<float> dy = random.values(n);
    const double relative = (static_cast<double>(n) + 32) * kEps;
    const auto check = [&](const reference::NormGradient& want, const std::vector<float>& dx,
                           const std::vector<float>& dweight, double before, CaseLog* log) {
      for (size_t i = 0; i < n; ++i) {
        log->compare(wide(dx[i]), want.dx.value[i] + before,
                     relative * (want.dx.magnitude[i] + before));
        log->compare(wide(dweight[i]), want.dweight[i] + 1,
                     relative * (std::fabs(want.dweight[i]) + 1 + std::fabs(wide(dy[i]))));
      }
    };
    std::vector<float> dx(n, 1.0F);
    std::vector<float> dweight(n, 1.0F);
    kernels.rms_norm_backward(x.data(), weight.data(), dy.data(), n, kNormEps, dx.data(),
                              dweight.data());
    check(reference::rms_norm_backward(x, weight, dy, wide(kNormEps)), dx, dweight, 1, &rms);
    dx = dy;
    dweight.assign(n, 1.0F);
    std::vector<float> dbias(n, 1.0F);
    kernels.layer_norm_backward(x.data(), weight.data(), dx.data(), n, kNormEps, dx.data(),
                                dweight.data(), dbias.data());
    check(reference::layer_norm_backward(x, weight, dy, wide(kNormEps)), dx, dweight, 0, &layer);
    for (size_t i = 0; i < n; ++i)
      layer.require(dbias[i] == 1.0F + dy[i]);
  }
  report("rms_norm_backward", rms);
  report("layer_norm_backward", layer);
}

void verify_silu_gradient(const TrainKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  for (const size_t n : kLengths) {
    VerifyRandom random(n + 3);
    const std::vector<float> dy = random.values(n);
    std::vector<float> gate = random.values(n);
    std::vector<float> up = random.values(n);
    const reference::SiluMulGradient want = reference::silu_mul_backward(dy, gate, up);
    const std::vector<float> up_before = up;
    kernels.silu_mul_backward(dy.data(), n, gate.data(), up.data());
    for (size_t i = 0; i < n; ++i) {
      // The slope of silu is a sum with a zero: rounding is relative to its terms, below 2.
      log.compare(wide(gate[i]), want.gate[i],
                  32 * kEps * std::fabs(wide(dy[i]) * wide(up_before[i])));
      log.compare(wide(up[i]), want.up[i], 16 * kEps * std::fabs(want.up[i]) + 1e-37);
    }
  }
  report("silu_mul_backward", log);
}

void verify_index_gradients(const TrainKernels& kernels, const ReportCheck& report) {
  CaseLog scores;
  CaseLog backward;
  for (const size_t n_heads : {1UL, 3UL, 8UL}) {
    for (const size_t n : kLengths) {
      VerifyRandom random(n * 10 + n_heads);
      std::vector<float> qk = random.values(n_heads * n);
      const std::vector<float> w = random.values(n_heads);
      std::vector<float> out(n);
      kernels.index_scores(qk.data(), n, n_heads, n, w.data(), out.data());
      const reference::Gradient want = reference::index_scores(qk, w);
      for (size_t j = 0; j < n; ++j) {
        scores.compare(wide(out[j]), want.value[j],
                       (static_cast<double>(n_heads) + 2) * kEps * want.magnitude[j]);
      }
      const std::vector<float> dscores = random.values(n);
      const auto gradient = reference::index_scores_backward(qk, w, dscores);
      std::vector<float> dw(n_heads, 1.0F);
      kernels.index_scores_backward(qk.data(), n, n_heads, n, w.data(), dscores.data(), dw.data());
      for (size_t i = 0; i < qk.size(); ++i)
        backward.compare(wide(qk[i]), gradient.qk[i], kEps * std::fabs(gradient.qk[i]));
      for (size_t h = 0; h < n_heads; ++h) {
        backward.compare(wide(dw[h]), gradient.dw.value[h] + 1,
                         (static_cast<double>(n) + 2) * kEps * (gradient.dw.magnitude[h] + 1));
      }
    }
  }
  report("index_scores_train", scores);
  report("index_scores_backward", backward);
}

void verify_kl(const TrainKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  constexpr float kFactor = 0.5F;
  for (const size_t n : kLengths) {
    VerifyRandom random(n + 4);
    std::vector<float> scores = random.values(n);
    std::vector<float> p = random.values(n);
    for (float& value : p)
      value = std::fabs(value) / static_cast<float>(n);
    p[0] = 0;
    const auto lse = static_cast<float>(std::log(static_cast<double>(n)) + 0.5);
    const std::vector<float> before = scores;
    const reference::KlRow want = reference::kl_row(p, scores, wide(lse), wide(kFactor));
    const double value = kernels.kl_row(p.data(), scores.data(), n, lse, kFactor);
    log.compare(value, want.value, (static_cast<double>(n) + 32) * kEps * want.magnitude + 1e-37);
    for (size_t j = 0; j < n; ++j) {
      const double q = std::exp(wide(before[j]) - wide(lse));
      const double argument = std::fabs(wide(before[j])) + wide(lse);
      log.compare(wide(scores[j]), want.dscores[j],
                  (16 + 2 * argument) * kEps * wide(kFactor) * (q + wide(p[j])));
    }
  }
  report("kl_row", log);
}

}  // namespace

void verify_train_kernels(const TrainKernels& kernels, const ReportCheck& report) {
  verify_gemm(kernels, report);
  verify_moves(kernels, report);
  verify_softmax_rows(kernels, report);
  verify_norm_gradients(kernels, report);
  verify_silu_gradient(kernels, report);
  verify_index_gradients(kernels, report);
  verify_kl(kernels, report);
}

}  // namespace dsa
