// Random numbers that are the same on every platform.
#pragma once

#include <cstdint>

namespace dsa {

// SplitMix64: the next of 2^64 numbers from a state that may begin anywhere.
inline uint64_t next_random(uint64_t* state) {
  *state += 0x9E3779B97F4A7C15U;
  uint64_t z = *state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

}  // namespace dsa
