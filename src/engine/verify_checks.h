// Checks of one tier's kernels against float64 oracles; the parts of verify_kernels().
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "dsa/verify.h"

#include "formats/float_bits.h"
#include "kernels/kernel_table.h"

namespace dsa {

inline constexpr double kEps = 0x1p-23;  // of f32

using Sizes = std::initializer_list<size_t>;

// Reproducible values on every machine (the standard library's distributions are not).
class VerifyRandom {
 public:
  explicit VerifyRandom(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15U + 1) {}

  uint64_t bits() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  // About normal, variance 1.
  float value() {
    double sum = 0;
    for (int i = 0; i < 12; ++i)
      sum += static_cast<double>(bits() >> 11) * 0x1p-53;
    return static_cast<float>(sum - 6.0);
  }
  // A value that is exact in bf16.
  float bf16_value() { return bf16_to_f32(f32_to_bf16(value())); }

  std::vector<float> values(size_t n) {
    std::vector<float> result(n);
    for (float& x : result)
      x = value();
    return result;
  }

 private:
  uint64_t state_;
};

// Collects the cases of one kernel.
class CaseLog {
 public:
  // |got - want| must not exceed tolerance; NaN must meet NaN, infinities the same infinity.
  void compare(double got, double want, double tolerance) {
    ++n_cases_;
    double ratio = 0;
    if (std::isnan(want) || std::isinf(want)) {
      const bool same = std::isnan(want) ? std::isnan(got) : got == want;
      ratio = same ? 0 : HUGE_VAL;
    } else {
      const double difference = std::fabs(got - want);
      ratio = difference == 0 ? 0 : difference / tolerance;
    }
    if (!(ratio <= worst_)) worst_ = std::isnan(ratio) ? HUGE_VAL : ratio;
  }
  void require(bool holds) {
    ++n_cases_;
    if (!holds) worst_ = HUGE_VAL;
  }

  KernelCheck result(const std::string& tier, const std::string& kernel) const {
    return {tier, kernel, worst_ <= 1.0, worst_, n_cases_};
  }

 private:
  double worst_ = 0;
  int n_cases_ = 0;
};

// What a part calls for each kernel it has checked.
using ReportCheck = std::function<void(const std::string& kernel, const CaseLog& log)>;

void verify_vector_kernels(const kernels::VectorKernels& kernels, const ReportCheck& report);
void verify_matmul_kernels(const kernels::MatmulKernels& kernels, const ReportCheck& report);
void verify_indexer_kernels(const kernels::IndexerKernels& kernels, const ReportCheck& report);
void verify_attention_kernels(const kernels::AttentionKernels& kernels, const ReportCheck& report);
void verify_train_kernels(const kernels::TrainKernels& kernels, const ReportCheck& report);

}  // namespace dsa
