// Work whose time is a limit of the machine, split over the threads as kernels split theirs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "dsa/executor.h"

#include "kernels/peak_kernels.h"

namespace dsa {

using DotLoop = double (*)(uint64_t rounds) noexcept;

// `rounds` rounds of the loop in all, a multiple of 64: loop(1) operations each.
inline void run_dots(Executor* pool, DotLoop loop, uint64_t rounds) {
  constexpr uint64_t kPieces = 64;
  pool->parallel_for(kPieces, [=](int64_t, int) { loop(rounds / kPieces); });
}

// Reads n bytes, a multiple of 1 MiB.
inline void read_all(Executor* pool,
                     const kernels::PeakKernels& kernels,
                     const uint8_t* data,
                     size_t n) {
  constexpr size_t kPiece = size_t{1} << 20;
  std::atomic<uint64_t> sink = 0;
  pool->parallel_for(static_cast<int64_t>(n / kPiece), [&](int64_t piece, int) {
    sink += kernels.read(data + static_cast<size_t>(piece) * kPiece, kPiece);
  });
}

}  // namespace dsa
