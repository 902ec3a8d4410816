// Peak loops, shared by the tiers. Requires DSA_TIER, and before inclusion:
//   PeakVector            a register type with load(const void*) and fold(a, b) of two of them,
//                         bits(v): a few bits that depend on all of it; kBytes
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/peak_kernels.h"

namespace dsa::kernels::DSA_TIER {
namespace {

// Cover latency times width of the pipes, and their accumulators stay in registers.
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
