#include <algorithm>
#include <numeric>

#include "engine/verify_checks.h"

namespace dsa {

namespace {

constexpr size_t kLengths[] = {1, 2, 15, 16, 17, 64, 127, 128, 576};

double sum_of(const std::vector<float>& x, const std::function<double(double)>& f) {
  return std::accumulate(x.begin(), x.end(), 0.0, [&f](double sum, float value) {
    return sum + f(static_cast<double>(value));
  });
}

void verify_norms(const kernels::VectorKernels& kernels, const ReportCheck& report) {
  CaseLog rms;
  CaseLog layer;
  for (const size_t n : kLengths) {
    VerifyRandom random(n);
    const std::vector<float> x = random.values(n);
    const std::vector<float> weight = random.values(n);
    const std::vector<float> bias = random.values(n);
    std::vector<float> out(n);
    const auto count = static_cast<double>(n);
    // Sums of n terms and a square root: a few units per term of the relative error.
    const double relative = (count + 8) * kEps;
    kernels.rms_norm(x.data(), weight.data(), n, 1e-6F, out.data());
    const double mean_square = sum_of(x, [](double v) { return v * v; }) / count;
    for (size_t i = 0; i < n; ++i) {
      const double want = static_cast<double>(x[i]) / std::sqrt(mean_square + 1e-6) *
                          static_cast<double>(weight[i]);
      rms.compare(static_cast<double>(out[i]), want, relative * std::fabs(want));
    }
    kernels.layer_norm(x.data(), weight.data(), bias.data(), n, 1e-2F, out.data());
    const double mean = sum_of(x, [](double v) { return v; }) / count;
    const double variance = sum_of(x, [mean](double v) { return (v - mean) * (v - mean); }) / count;
    for (size_t i = 0; i < n; ++i) {
      const double scaled = static_cast<double>(weight[i]) / std::sqrt(variance + 1e-2);
      const double want =
          (static_cast<double>(x[i]) - mean) * scaled + static_cast<double>(bias[i]);
      const double size = std::fabs(scaled) * (std::fabs(static_cast<double>(x[i])) + 4.0) +
                          std::fabs(static_cast<double>(bias[i]));
      layer.compare(static_cast<double>(out[i]), want, relative * size);
    }
  }
  report("rms_norm", rms);
  report("layer_norm", layer);
}

void verify_rope(const kernels::VectorKernels& kernels, const ReportCheck& report) {
  CaseLog interleaved;
  CaseLog half_split;
  for (const size_t n : Sizes{2, 8, 16, 30, 32, 64}) {
    VerifyRandom random(n);
    const std::vector<float> x = random.values(n);
    const std::vector<float> cos = random.values(n / 2);
    const std::vector<float> sin = random.values(n / 2);
    const auto check = [&](CaseLog* log, const std::vector<float>& got, size_t a, size_t b,
                           size_t i) {
      const double xa = static_cast<double>(x[a]);
      const double xb = static_cast<double>(x[b]);
      const double c = static_cast<double>(cos[i]);
      const double s = static_cast<double>(sin[i]);
      const double bound =
          2 * kEps * (std::fabs(xa) + std::fabs(xb)) * (std::fabs(c) + std::fabs(s));
      log->compare(static_cast<double>(got[a]), xa * c - xb * s, bound);
      log->compare(static_cast<double>(got[b]), xa * s + xb * c, bound);
    };
    std::vector<float> got = x;
    kernels.rope_interleaved(got.data(), cos.data(), sin.data(), n);
    for (size_t i = 0; i < n / 2; ++i)
      check(&interleaved, got, 2 * i, 2 * i + 1, i);
    got = x;
    kernels.rope_half_split(got.data(), cos.data(), sin.data(), n);
    for (size_t i = 0; i < n / 2; ++i)
      check(&half_split, got, i, i + n / 2, i);
  }
  report("rope_interleaved", interleaved);
  report("rope_half_split", half_split);
}

void verify_add_scaled(const kernels::VectorKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  constexpr float kFactor = 0.7F;
  for (const size_t n : kLengths) {
    VerifyRandom random(n + 5);
    const std::vector<float> x = random.values(n);
    const std::vector<float> before = random.values(n);
    std::vector<float> y = before;
    kernels.add_scaled(x.data(), kFactor, n, y.data());
    for (size_t i = 0; i < n; ++i) {
      const double term = static_cast<double>(kFactor) * static_cast<double>(x[i]);
      const auto start = static_cast<double>(before[i]);
      log.compare(static_cast<double>(y[i]), start + term,
                  2 * kEps * (std::fabs(start) + std::fabs(term)));
    }
  }
  report("add_scaled", log);
}

void verify_hadamard(const kernels::VectorKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  for (const size_t n : Sizes{1, 2, 4, 16, 32, 128, 256}) {
    VerifyRandom random(n);
    const std::vector<float> x = random.values(n);
    std::vector<float> got = x;
    kernels.hadamard(got.data(), n);
    const double magnitude = sum_of(x, [](double v) { return std::fabs(v); });
    for (size_t i = 0; i < n; ++i) {
      double want = 0;
      for (size_t j = 0; j < n; ++j) {
        want +=
            __builtin_parityll(i & j) != 0 ? -static_cast<double>(x[j]) : static_cast<double>(x[j]);
      }
      const double root = std::sqrt(static_cast<double>(n));
      log.compare(static_cast<double>(got[i]), want / root, 10 * kEps * magnitude / root);
    }
  }
  report("hadamard", log);
}

void verify_exponentials(const kernels::VectorKernels& kernels, const ReportCheck& report) {
  CaseLog silu;
  CaseLog softmax;
  CaseLog lse;
  for (const size_t n : kLengths) {
    VerifyRandom random(n + 7);
    std::vector<float> x = random.values(n);
    for (float& value : x)
      value *= 8.0F;
    const std::vector<float> up = random.values(n);
    std::vector<float> out(n);
    kernels.silu_mul(x.data(), up.data(), n, out.data());
    for (size_t i = 0; i < n; ++i) {
      const double gate = static_cast<double>(x[i]);
      const double want = gate / (1 + std::exp(-gate)) * static_cast<double>(up[i]);
      silu.compare(static_cast<double>(out[i]), want, 16 * kEps * std::fabs(want) + 1e-37);
    }
    const double max = static_cast<double>(*std::max_element(x.begin(), x.end()));
    const double sum = sum_of(x, [max](double v) { return std::exp(v - max); });
    lse.compare(static_cast<double>(kernels.log_sum_exp(x.data(), n)), max + std::log(sum),
                (static_cast<double>(n) + 16) * kEps * (std::fabs(max) + 8));
    out = x;
    kernels.softmax(out.data(), n);
    for (size_t i = 0; i < n; ++i) {
      const double want = std::exp(static_cast<double>(x[i]) - max) / sum;
      // The argument of exp is rounded: its error grows with the distance from the maximum.
      const double distance = max - static_cast<double>(x[i]);
      softmax.compare(static_cast<double>(out[i]), want,
                      (static_cast<double>(n) + 16 + distance) * kEps * want + 1e-37);
    }
  }
  report("silu_mul", silu);
  report("softmax", softmax);
  report("log_sum_exp", lse);
}

void verify_conversions(const kernels::VectorKernels& kernels, const ReportCheck& report) {
  CaseLog bf16;
  CaseLog dequantize;
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  std::vector<float> values(256);
  kernels.dequantize_e4m3(codes.data(), codes.size(), 0.5F, values.data());
  for (size_t i = 0; i < 256; ++i) {
    dequantize.compare(static_cast<double>(values[i]),
                       0.5 * static_cast<double>(e4m3_to_f32(codes[i])), 0);
  }
  VerifyRandom random(3);
  for (const size_t n : kLengths) {
    const std::vector<float> x = random.values(n);
    std::vector<uint16_t> rounded(n);
    kernels.f32_to_bf16(x.data(), n, rounded.data());
    for (size_t i = 0; i < n; ++i)
      bf16.require(rounded[i] == f32_to_bf16(x[i]));
  }
  // Every finite half; f32 has room for all of them.
  std::vector<uint16_t> halves(0x10000);
  std::iota(halves.begin(), halves.end(), uint16_t{0});
  values.resize(halves.size());
  const auto same = [&values](float (*convert)(uint16_t), uint16_t half) {
    return std::isnan(convert(half)) ? std::isnan(values[half]) : values[half] == convert(half);
  };
  CaseLog from_bf16;
  kernels.bf16_to_f32(halves.data(), halves.size(), values.data());
  for (const uint16_t half : halves)
    from_bf16.require(same(bf16_to_f32, half));
  CaseLog from_f16;
  kernels.f16_to_f32(halves.data(), halves.size(), values.data());
  for (const uint16_t half : halves)
    from_f16.require(same(f16_to_f32, half));
  report("bf16_to_f32", from_bf16);
  report("f16_to_f32", from_f16);
  report("f32_to_bf16", bf16);
  report("dequantize_e4m3", dequantize);
}

void verify_quantize(const kernels::VectorKernels& kernels, const ReportCheck& report) {
  CaseLog log;
  VerifyRandom random(4);
  for (const size_t n : Sizes{1, 16, 31, 128}) {
    for (const float size : {1e-6F, 1.0F, 448.0F, 3e4F}) {
      std::vector<float> x = random.values(n);
      for (float& value : x)
        value *= size;
      float amax = 1e-4F;
      for (const float value : x)
        amax = std::max(amax, std::fabs(value));
      const float want = std::exp2(std::ceil(std::log2(amax / kE4m3Max)));
      std::vector<uint8_t> codes(n);
      const float scale = kernels.quantize_e4m3(x.data(), n, codes.data());
      log.compare(static_cast<double>(scale), static_cast<double>(want), 0);
      for (size_t i = 0; i < n; ++i)
        log.require(codes[i] == f32_to_e4m3(x[i] / want));
    }
  }
  report("quantize_e4m3", log);
}

}  // namespace

void verify_vector_kernels(const kernels::VectorKernels& kernels, const ReportCheck& report) {
  verify_norms(kernels, report);
  verify_rope(kernels, report);
  verify_add_scaled(kernels, report);
  verify_hadamard(kernels, report);
  verify_exponentials(kernels, report);
  verify_conversions(kernels, report);
  verify_quantize(kernels, report);
}

}  // namespace dsa
