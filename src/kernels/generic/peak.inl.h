// Peak loops, shared by the tiers. Requires DSA_TIER, and before inclusion:
//   PeakVector            a register type with load(const void*) and fold(a, b) of two of them,
//                         bits(v): a few bits that depend on all of it; kBytes
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/peak_kernels.h"

// Twelve chains cover latency times width of the pipes, and twelve accumulators stay in registers:
// in assembly, so that no compiler folds or spills them.
#define DSA_PEAK_TWELVE(op)                                                                      \
  op " %12, %12, %0\n\t" op " %12, %12, %1\n\t" op " %12, %12, %2\n\t" op " %12, %12, %3\n\t" op \
     " %12, %12, %4\n\t" op " %12, %12, %5\n\t" op " %12, %12, %6\n\t" op " %12, %12, %7\n\t" op \
     " %12, %12, %8\n\t" op " %12, %12, %9\n\t" op " %12, %12, %10\n\t" op " %12, %12, %11\n\t"

#define DSA_PEAK_LOOP(op, type, zero, rounds)                                                      \
  const type factor = zero;                                                                        \
  type a0 = zero, a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0, a8 = a0, a9 = a0, \
       a10 = a0, a11 = a0;                                                                         \
  for (uint64_t i = 0; i < (rounds); ++i) {                                                        \
    __asm__ volatile(DSA_PEAK_TWELVE(op)                                                           \
                     : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3), "+v"(a4), "+v"(a5), "+v"(a6),       \
                       "+v"(a7), "+v"(a8), "+v"(a9), "+v"(a10), "+v"(a11)                          \
                     : "v"(factor));                                                               \
  }

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr double kPeakChains = 12;
constexpr size_t kLineBytes = 64;

// Eight streams side by side: one stream alone does not fill the core's queue of misses.
inline uint64_t read_lines(const uint8_t* data, size_t n) noexcept {
  constexpr size_t kStreams = 8;
  constexpr size_t kAhead = 4096;
  const size_t part = n / kStreams / kLineBytes * kLineBytes;
  PeakVector sum[kStreams] = {};
  for (size_t i = 0; i < part; i += kLineBytes) {
    for (size_t s = 0; s < kStreams; ++s) {
      const uint8_t* line = data + s * part + i;
      __builtin_prefetch(line + kAhead, 0, 2);
      for (size_t b = 0; b < kLineBytes; b += PeakVector::kBytes) {
        sum[s] = PeakVector::fold(sum[s], PeakVector::load(line + b));
      }
    }
  }
  for (size_t s = 1; s < kStreams; ++s)
    sum[0] = PeakVector::fold(sum[0], sum[s]);
  return PeakVector::bits(sum[0]);
}

inline uint64_t gather_rows(const uint8_t* base,
                            size_t row_bytes,
                            const int32_t* rows,
                            size_t n_rows) noexcept {
  constexpr size_t kRowsAhead = 8;
  PeakVector sum = {};
  for (size_t r = 0; r < n_rows; ++r) {
    const uint8_t* row = base + static_cast<size_t>(rows[r]) * row_bytes;
    const size_t far = r + kRowsAhead < n_rows ? r + kRowsAhead : r;
    const uint8_t* next = base + static_cast<size_t>(rows[far]) * row_bytes;
    for (size_t i = 0; i + PeakVector::kBytes <= row_bytes; i += PeakVector::kBytes) {
      if (i % kLineBytes == 0) __builtin_prefetch(next + i, 0, 3);
      sum = PeakVector::fold(sum, PeakVector::load(row + i));
    }
  }
  return PeakVector::bits(sum);
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
