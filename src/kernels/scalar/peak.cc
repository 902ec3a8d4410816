#include <cstddef>
#include <cstdint>

namespace dsa::kernels::scalar {
namespace {

struct PeakVector {
  static constexpr size_t kBytes = sizeof(uint64_t);
  uint64_t v = 0;

  static PeakVector load(const uint8_t* data) {
    PeakVector x;
    __builtin_memcpy(&x.v, data, kBytes);
    return x;
  }
  static PeakVector fold(PeakVector a, PeakVector b) { return {a.v + b.v}; }
  static uint64_t bits(PeakVector a) { return a.v; }
};

}  // namespace
}  // namespace dsa::kernels::scalar

#define DSA_TIER scalar
#include "kernels/generic/peak.inl.h"

namespace dsa::kernels::scalar {
namespace {

// The baseline has no fused operation: multiplications and additions in equal numbers. The compiler
// knows neither what it reads of a volatile, each time, nor that nobody wants the sum.
double f32_dot(uint64_t rounds) noexcept {
  const volatile float unknown = 0;
  const float factor = unknown;
  float a0 = unknown, a1 = unknown, a2 = unknown, a3 = unknown, a4 = unknown, a5 = unknown;
  float b0 = unknown, b1 = unknown, b2 = unknown, b3 = unknown, b4 = unknown, b5 = unknown;
  for (uint64_t i = 0; i < rounds; ++i) {
    a0 *= factor;
    a1 *= factor;
    a2 *= factor;
    a3 *= factor;
    a4 *= factor;
    a5 *= factor;
    b0 += factor;
    b1 += factor;
    b2 += factor;
    b3 += factor;
    b4 += factor;
    b5 += factor;
  }
  volatile float sum = a0 + a1 + a2 + a3 + a4 + a5 + b0 + b1 + b2 + b3 + b4 + b5;
  static_cast<void>(sum);
  return static_cast<double>(rounds) * kPeakChains;
}

}  // namespace

extern const PeakKernels kPeakKernels;
constinit const PeakKernels kPeakKernels = {f32_dot, nullptr, nullptr, read_lines, gather_rows};
}  // namespace dsa::kernels::scalar
