// What differs between architectures outside the folders of their tiers of kernels.
#pragma once

#if defined(__x86_64__)
#define DSA_FLOAT_REGISTER "x"
#elif defined(__aarch64__)
#define DSA_FLOAT_REGISTER "w"
#endif

// Keeps the float x in a register, where the compiler would load it again for each use.
#define DSA_KEEP_IN_REGISTER(x) __asm__("" : "+" DSA_FLOAT_REGISTER(x))

namespace dsa {

// Between two looks at a value that another thread is about to change: leaves the core to its other
// thread for some tens of cycles.
inline void spin_pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");  // `yield` does nothing on most cores
#endif
}

}  // namespace dsa
