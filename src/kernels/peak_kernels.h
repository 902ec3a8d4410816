// Loops that do nothing but reach a limit of the core: the yardsticks of every measurement.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsa::kernels {

struct PeakKernels {
  // `rounds` times independent multiply-adds in the widest registers of the tier; returns the
  // operations done, a multiply-add counting as two. Null: the tier has no such instruction.
  double (*f32_dot)(uint64_t rounds) noexcept;
  double (*bf16_dot)(uint64_t rounds) noexcept;  // pairs of bf16 into f32
  double (*int8_dot)(uint64_t rounds) noexcept;  // fours of int8 into int32

  // Reads every cache line of n bytes at data; returns a value that depends on them.
  uint64_t (*read)(const uint8_t* data, size_t n) noexcept;

  // Reads the listed rows of row_bytes each, prefetching ahead.
  uint64_t (*gather)(const uint8_t* base,
                     size_t row_bytes,
                     const int32_t* rows,
                     size_t n_rows) noexcept;
};

}  // namespace dsa::kernels
