// The limits of the machine for one tier of kernels.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dsa/thread_pool.h"
#include "dsa_measure/bench.h"

#include "kernels/kernel_table.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

// Measures every limit in short slices, so that what is compared with the limits can run
// interleaved with them: a slow phase of the machine slows both.
class Yardsticks {
 public:
  //   Errors  kResourceExhausted: no memory for the table that is read.
  static Result<Yardsticks> create(const kernels::KernelTable& table, ThreadPool* pool);

  void sample();  // takes some milliseconds

  // Of the samples so far, at least one: the given percentile of each limit's times, 0 for the
  // shortest.
  MachineLimits limits(int percentile) const;

 private:
  enum Kind : uint8_t { kF32, kBF16, kInt8, kRead, kGather, kKinds };

  Yardsticks() = default;
  void time_dots(Kind kind, double (*loop)(uint64_t) noexcept);
  void time_read();
  void time_gather();
  double rate(Kind kind, int percentile) const;  // 0 where nothing was timed

  const kernels::KernelTable* kernels_ = nullptr;
  ThreadPool* pool_ = nullptr;
  AlignedBuffer table_;
  std::vector<int32_t> rows_;  // lists that each are ascending, of places all over the table
  size_t turn_ = 0;
  std::array<double, kKinds> work_ = {};  // operations or bytes of a sample
  std::array<std::vector<double>, kKinds> seconds_;
};

Result<MachineLimits> measure_machine(const kernels::KernelTable& table, ThreadPool* pool);

}  // namespace dsa
