#include "tokenizer/byte_level.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace dsa {
namespace {

constexpr std::size_t kCodePoints = 256 + 68;
using ByteTable = std::array<int16_t, kCodePoints>;

constexpr bool stands_for_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// Code point -> byte, -1 where no byte is spelled so.
constexpr ByteTable make_byte_table() {
  ByteTable table{};
  for (int16_t& byte : table)
    byte = -1;
  std::size_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    table[stands_for_itself(byte) ? static_cast<std::size_t>(byte) : next++] =
        static_cast<int16_t>(byte);
  }
  return table;
}

constexpr ByteTable kByteOfCodePoint = make_byte_table();

// The other way round.
constexpr std::array<uint16_t, 256> make_code_point_table() {
  std::array<uint16_t, 256> table{};
  for (std::size_t code = 0; code < kCodePoints; ++code) {
    if (kByteOfCodePoint[code] >= 0) {
      table[static_cast<std::size_t>(kByteOfCodePoint[code])] = static_cast<uint16_t>(code);
    }
  }
  return table;
}

constexpr std::array<uint16_t, 256> kCodePointOfByte = make_code_point_table();

}  // namespace

std::optional<std::string> bytes_of_spelling(std::string_view spelling) {
  std::string bytes;
  bytes.reserve(spelling.size());
  for (std::size_t i = 0; i < spelling.size(); ++i) {
    std::size_t code = static_cast<uint8_t>(spelling[i]);
    if (code >= 0x80) {  // the alphabet ends below U+0800: two bytes, or not of the alphabet
      if (code < 0xC2 || code > 0xDF || i + 1 == spelling.size()) return std::nullopt;
      code = (code & 0x1F) << 6 | (static_cast<uint8_t>(spelling[++i]) & 0x3F);
    }
    if (code >= kCodePoints || kByteOfCodePoint[code] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kByteOfCodePoint[code]));
  }
  return bytes;
}

std::string spelling_of_bytes(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes) {
    const uint16_t code = kCodePointOfByte[static_cast<uint8_t>(byte)];
    if (code < 0x80) {
      spelling.push_back(static_cast<char>(code));
    } else {
      spelling.push_back(static_cast<char>(0xC0 | code >> 6));
      spelling.push_back(static_cast<char>(0x80 | (code & 0x3F)));
    }
  }
  return spelling;
}

}  // namespace dsa
