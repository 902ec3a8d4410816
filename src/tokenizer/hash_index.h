// A hash table of numbers whose keys lie elsewhere: slots hold 32 bits of the hash and the number,
// so that a miss seldom looks at a key.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace dsa {

constexpr uint64_t mix64(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93U;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93U;
  return x ^ (x >> 32);
}

// 8 bytes a step.
inline uint64_t hash_bytes(std::string_view text) {
  uint64_t hash = text.size();
  while (!text.empty()) {
    uint64_t word = 0;
    const std::size_t n = text.size() < sizeof(word) ? text.size() : sizeof(word);
    std::memcpy(&word, text.data(), n);
    hash = mix64(hash ^ word);
    text.remove_prefix(n);
  }
  return hash;
}

class HashIndex {
 public:
  // For up to n entries; at most half full, so that probes stay short.
  explicit HashIndex(std::size_t n) : slots_(std::bit_ceil(2 * n + 2)) {}

  // The number with that hash for which equal(number) holds, or -1.
  template <class Equal>
  int32_t find(uint64_t hash, const Equal& equal) const {
    return slots_[slot_of(hash, equal)].number;
  }

  // The number already there, or -1 after inserting `number`.
  template <class Equal>
  int32_t insert(uint64_t hash, int32_t number, const Equal& equal) {
    Slot& slot = slots_[slot_of(hash, equal)];
    if (slot.number >= 0) return slot.number;
    slot = {tag_of(hash), number};
    return -1;
  }

 private:
  struct Slot {
    uint32_t tag = 0;
    int32_t number = -1;  // -1: free
  };

  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

  template <class Equal>
  std::size_t slot_of(uint64_t hash, const Equal& equal) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = hash & mask;
    const auto other = [&](const Slot& slot) {
      return slot.number >= 0 && !(slot.tag == tag_of(hash) && equal(slot.number));
    };
    while (other(slots_[i]))
      i = (i + 1) & mask;
    return i;
  }

  std::vector<Slot> slots_;
};

}  // namespace dsa
