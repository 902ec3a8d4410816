// SHA-256: names and checksums of what is cached. A hash that nobody can find collisions of, since
// prompts come from strangers and equal names mean equal contents here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace dsa {

using Digest = std::array<uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  void add(std::span<const uint8_t> bytes);
  void add(std::string_view text);
  void add(std::span<const int32_t> values);  // as little-endian bytes
  Digest finish();                            // then empty again

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

// 64 lower-case hexadecimal digits.
std::string to_hex(const Digest& digest);

}  // namespace dsa
