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

// The baseline has no fused operation: multiplications and additions in equal numbers.
double f32_dot(uint64_t rounds) noexcept {
  const float factor = 0;
  float a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0;
  float b0 = 0, b1 = 0, b2 = 0, b3 = 0, b4 = 0, b5 = 0;
  for (uint64_t i = 0; i < rounds; ++i) {
    __asm__ volatile(
        "mulss %12, %0\n\t addss %12, %1\n\t mulss %12, %2\n\t addss %12, %3\n\t"
        "mulss %12, %4\n\t addss %12, %5\n\t mulss %12, %6\n\t addss %12, %7\n\t"
        "mulss %12, %8\n\t addss %12, %9\n\t mulss %12, %10\n\t addss %12, %11"
        : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5), "+x"(b0), "+x"(b1), "+x"(b2),
          "+x"(b3), "+x"(b4), "+x"(b5)
        : "x"(factor));
  }
  return static_cast<double>(rounds) * kPeakChains;
}

}  // namespace

extern const PeakKernels kPeakKernels;
constinit const PeakKernels kPeakKernels = {f32_dot, nullptr, nullptr, read_lines, gather_rows};
}  // namespace dsa::kernels::scalar
