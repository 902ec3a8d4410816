// Loops at the peak of AVX's three-operand instructions, for this tier and wider ones: kPeakChains
// chains in assembly, so that no compiler folds or spills them.
#pragma once

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
