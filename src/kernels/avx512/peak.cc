#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace dsa::kernels::avx512 {
namespace {

struct PeakVector {
  static constexpr size_t kBytes = sizeof(__m512i);
  __m512i v = _mm512_setzero_si512();

  static PeakVector load(const uint8_t* data) { return {_mm512_loadu_si512(data)}; }
  static PeakVector fold(PeakVector a, PeakVector b) { return {_mm512_xor_si512(a.v, b.v)}; }
  static uint64_t bits(PeakVector a) { return _mm512_test_epi8_mask(a.v, a.v); }
};

}  // namespace
}  // namespace dsa::kernels::avx512

#define DSA_TIER avx512
#include "kernels/avx2/peak_loop.h"
#include "kernels/generic/peak.inl.h"

namespace dsa::kernels::avx512 {
namespace {

double f32_dot(uint64_t rounds) noexcept {
  DSA_PEAK_LOOP("vfmadd231ps", __m512, _mm512_setzero_ps(), rounds)
  return static_cast<double>(rounds) * kPeakChains * 2 * 16;
}

double bf16_dot(uint64_t rounds) noexcept {
  DSA_PEAK_LOOP("vdpbf16ps", __m512, _mm512_setzero_ps(), rounds)
  return static_cast<double>(rounds) * kPeakChains * 2 * 32;
}

double int8_dot(uint64_t rounds) noexcept {
  DSA_PEAK_LOOP("vpdpbusd", __m512i, _mm512_setzero_si512(), rounds)
  return static_cast<double>(rounds) * kPeakChains * 2 * 64;
}

}  // namespace

extern const PeakKernels kPeakKernels;
constinit const PeakKernels kPeakKernels = {f32_dot, bf16_dot, int8_dot, read_lines, gather_rows};
}  // namespace dsa::kernels::avx512
