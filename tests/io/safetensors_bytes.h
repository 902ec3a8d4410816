// Safetensors files made by hand, also broken ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace dsa {

// The length of the header as the file stores it.
inline std::string length_bytes(uint64_t length) {
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes;
}

// A file with this header text and `data_bytes` bytes 0, 1, 2, ... after it.
inline std::string safetensors_bytes(std::string_view header, size_t data_bytes) {
  std::string bytes = length_bytes(header.size()) + std::string(header);
  for (size_t i = 0; i < data_bytes; ++i)
    bytes.push_back(static_cast<char>(i));
  return bytes;
}

// The header text with spaces after it, so that the data begins at a multiple of eight bytes.
inline std::string padded(std::string header) {
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return header;
}

// Tensors "a" f32 [2, 2] at 0, "b" u8 [3] at 16, "c" bf16 scalar at 19.
inline std::string small_safetensors() {
  return safetensors_bytes(R"({"__metadata__":{"format":"pt"},)"
                           R"("c":{"dtype":"BF16","shape":[],"data_offsets":[19,21]},)"
                           R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
                           R"("b":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})",
                           21);
}

}  // namespace dsa
