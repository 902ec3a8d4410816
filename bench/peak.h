// What one core can do at most, measured in the same run as the kernels: clocks differ between
// machines and wander on one, ratios do not.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <vector>

namespace dsa::bench {

struct Peak {
  double f32_flops = 0;   // multiply-adds in the tier's widest registers, 2 flops a lane
  double bf16_flops = 0;  // avx512: vdpbf16ps; else f32_flops
  double int8_ops = 0;    // avx512: vpdpbusd, 2 a product; else 0
  double read_bytes = 0;  // per second, streamed from memory
};

template <class Work>
double best_seconds(const Work& work) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  for (int repeat = 0; repeat < 15; ++repeat) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

inline constexpr int kPeakRounds = 1'000'000;
inline constexpr int kPeakChains = 12;  // independent accumulators: enough to cover the latency

#define DSA_TWELVE(op)                                                                           \
  op " %12, %12, %0\n\t" op " %12, %12, %1\n\t" op " %12, %12, %2\n\t" op " %12, %12, %3\n\t" op \
     " %12, %12, %4\n\t" op " %12, %12, %5\n\t" op " %12, %12, %6\n\t" op " %12, %12, %7\n\t" op \
     " %12, %12, %8\n\t" op " %12, %12, %9\n\t" op " %12, %12, %10\n\t" op " %12, %12, %11\n\t"

#define DSA_PEAK_LOOP(op, type, zero)                                                              \
  type factor = zero;                                                                              \
  type a0 = zero, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0, a8 = a0, a9 = a0, \
       a10 = a0, a11 = a0;                                                                         \
  for (int i = 0; i < kPeakRounds; ++i) {                                                          \
    asm volatile(DSA_TWELVE(op)                                                                    \
                 : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3), "+v"(a4), "+v"(a5), "+v"(a6), "+v"(a7), \
                   "+v"(a8), "+v"(a9), "+v"(a10), "+v"(a11)                                        \
                 : "v"(factor));                                                                   \
  }

__attribute__((target("avx2,fma"))) inline void fma_loop_avx2() {
  DSA_PEAK_LOOP("vfmadd231ps", __m256, _mm256_setzero_ps())
}
__attribute__((target("avx512f"))) inline void fma_loop_avx512() {
  DSA_PEAK_LOOP("vfmadd231ps", __m512, _mm512_setzero_ps())
}
__attribute__((target("avx512f"))) inline void bf16_loop_avx512() {
  DSA_PEAK_LOOP("vdpbf16ps", __m512, _mm512_setzero_ps())
}
__attribute__((target("avx512f,avx512vnni"))) inline void int8_loop_avx512() {
  DSA_PEAK_LOOP("vpdpbusd", __m512i, _mm512_setzero_si512())
}
// Baseline code has no fused operation: multiplications and additions in equal numbers.
inline void multiply_and_add_loop() {
  float factor = 0, a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0;
  float b0 = 0, b1 = 0, b2 = 0, b3 = 0, b4 = 0, b5 = 0;
  for (int i = 0; i < kPeakRounds; ++i) {
    asm volatile(
        "mulss %12, %0\n\t addss %12, %1\n\t mulss %12, %2\n\t addss %12, %3\n\t"
        "mulss %12, %4\n\t addss %12, %5\n\t mulss %12, %6\n\t addss %12, %7\n\t"
        "mulss %12, %8\n\t addss %12, %9\n\t mulss %12, %10\n\t addss %12, %11"
        : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5), "+x"(b0), "+x"(b1), "+x"(b2),
          "+x"(b3), "+x"(b4), "+x"(b5)
        : "x"(factor));
  }
}

#undef DSA_PEAK_LOOP
#undef DSA_TWELVE

inline double read_bandwidth() {
  const std::vector<unsigned long> data(std::size_t{1} << 25, 1);  // 256 MiB
  volatile unsigned long sink = 0;
  const double seconds =
      best_seconds([&] { sink = std::accumulate(data.begin(), data.end(), 0UL); });
  static_cast<void>(sink);
  return static_cast<double>(data.size() * sizeof(data[0])) / seconds;
}

inline Peak measure_peak(std::string_view tier) {
  const auto flops = [](void (*loop)(), double lanes) {
    return 2.0 * lanes * kPeakRounds * kPeakChains / best_seconds(loop);
  };
  Peak peak;
  peak.read_bytes = read_bandwidth();
  if (tier == "avx512") {
    peak.f32_flops = flops(&fma_loop_avx512, 16);
    peak.bf16_flops = flops(&bf16_loop_avx512, 32);
    peak.int8_ops = flops(&int8_loop_avx512, 64);
  } else {
    peak.f32_flops = tier == "avx2" ? flops(&fma_loop_avx2, 8) : flops(&multiply_and_add_loop, 0.5);
    peak.bf16_flops = peak.f32_flops;
  }
  return peak;
}

}  // namespace dsa::bench
