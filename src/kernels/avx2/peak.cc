#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace dsa::kernels::avx2 {
namespace {

struct PeakVector {
  static constexpr size_t kBytes = sizeof(__m256i);
  __m256i v = _mm256_setzero_si256();

  static PeakVector load(const uint8_t* data) {
    PeakVector x;
    __builtin_memcpy(&x.v, data, kBytes);
    return x;
  }
  static PeakVector fold(PeakVector a, PeakVector b) { return {_mm256_xor_si256(a.v, b.v)}; }
  static uint64_t bits(PeakVector a) { return static_cast<uint32_t>(_mm256_movemask_epi8(a.v)); }
};

}  // namespace
}  // namespace dsa::kernels::avx2

#define DSA_TIER avx2
#include "kernels/avx2/peak_loop.h"
#include "kernels/generic/peak.inl.h"

namespace dsa::kernels::avx2 {
namespace {

double f32_dot(uint64_t rounds) noexcept {
  DSA_PEAK_LOOP("vfmadd231ps", __m256, _mm256_setzero_ps(), rounds)
  return static_cast<double>(rounds) * kPeakChains * 2 * 8;
}

}  // namespace

extern const PeakKernels kPeakKernels;
constinit const PeakKernels kPeakKernels = {f32_dot, nullptr, nullptr, read_lines, gather_rows};
}  // namespace dsa::kernels::avx2
