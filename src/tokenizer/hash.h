// A hash of short byte strings, 8 bytes a step.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace dsa {

constexpr uint64_t mix64(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93U;
  return x ^ (x >> 32);
}

inline uint64_t hash_bytes(std::string_view text) {
  uint64_t hash = text.size();
  while (!text.empty()) {
    uint64_t word = 0;
    const std::size_t n = text.size() < sizeof(word) ? text.size() : sizeof(word);
    std::memcpy(&word, text.data(), n);
    hash = mix64(hash ^ word) + 0x9E3779B97F4A7C15U;
    text.remove_prefix(n);
  }
  return hash;
}

}  // namespace dsa
