#include "kernels/avx2/runs_here.h"

namespace dsa::kernels::avx2 {

namespace {

// clang 14 has no name for f16c: CPUID leaf 1, ECX bit 29.
bool has_f16c() noexcept {
  unsigned eax = 1;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
  return (ecx & (1U << 29)) != 0;
}

}  // namespace

// __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the registers.
bool runs_here() noexcept {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

}  // namespace dsa::kernels::avx2
