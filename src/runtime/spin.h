// What a thread does between two looks at a value that another is about to change.
#pragma once

namespace dsa {

// Leaves the core to its other thread for some tens of cycles.
inline void spin_pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");  // `yield` does nothing on most cores
#endif
}

}  // namespace dsa
