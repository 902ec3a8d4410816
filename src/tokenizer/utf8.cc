#include "tokenizer/utf8.h"

#include <algorithm>
#include <cstring>

namespace dsa {
namespace {

struct Lead {
  std::size_t n_bytes = 0;  // of the whole character; 0: not a first byte
  uint8_t second_min = 0x80;
  uint8_t second_max = 0xBF;
};

// The bounds of the second byte keep out overlong forms, surrogates and values past U+10FFFF.
Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

}  // namespace

Utf8Part first_utf8_part(std::string_view text) {
  const Lead lead = lead_of(static_cast<uint8_t>(text[0]));
  if (lead.n_bytes == 0) return {1, Utf8Kind::kIllFormed};
  for (std::size_t i = 1; i < lead.n_bytes; ++i) {
    if (i == text.size()) return {i, Utf8Kind::kUnfinished};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.second_min : uint8_t{0x80};
    const uint8_t high = i == 1 ? lead.second_max : uint8_t{0xBF};
    if (byte < low || byte > high) return {i, Utf8Kind::kIllFormed};
  }
  return {lead.n_bytes, Utf8Kind::kWhole};
}

bool is_ascii(std::string_view text) {
  constexpr uint64_t kHigh = 0x8080808080808080U;
  std::size_t i = 0;
  for (uint64_t word = 0; i + sizeof(word) <= text.size(); i += sizeof(word)) {
    std::memcpy(&word, text.data() + i, sizeof(word));
    if ((word & kHigh) != 0) return false;
  }
  return std::none_of(text.begin() + static_cast<std::ptrdiff_t>(i), text.end(),
                      [](char c) { return static_cast<uint8_t>(c) >= 0x80; });
}

uint32_t code_point(std::string_view character) {
  if (first_utf8_part(character).kind != Utf8Kind::kWhole) return 0xFFFD;
  const auto lead = static_cast<uint8_t>(character[0]);
  const std::size_t n_bytes = character.size();
  uint32_t code = n_bytes == 1 ? lead : lead & (0x7FU >> n_bytes);
  for (std::size_t i = 1; i < n_bytes; ++i)
    code = code << 6 | (static_cast<uint8_t>(character[i]) & 0x3FU);
  return code;
}

void append_utf8(uint32_t code, std::string& out) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  const auto follow = [&](int shift) { put(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    follow(0);
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    follow(6);
    follow(0);
  } else {
    put(0xF0 | code >> 18);
    follow(12);
    follow(6);
    follow(0);
  }
}

std::size_t append_well_formed(std::string_view text, std::string& out) {
  std::size_t used = 0;
  while (used < text.size()) {
    const Utf8Part part = first_utf8_part(text.substr(used));
    if (part.kind == Utf8Kind::kUnfinished) break;
    const bool whole = part.kind == Utf8Kind::kWhole;
    out.append(whole ? text.substr(used, part.n_bytes) : kReplacement);
    used += part.n_bytes;
  }
  return used;
}

}  // namespace dsa
