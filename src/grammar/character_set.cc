#include "grammar/character_set.h"

#include <algorithm>
#include <array>
#include <string>

namespace dsa::grammar {
namespace {

constexpr uint32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;
using Sequence = std::vector<ByteRange>;

std::array<uint8_t, 4> utf8(uint32_t c, size_t n) {
  std::array<uint8_t, 4> out{};
  for (size_t i = n; i-- > 1; c >>= 6U)
    out[i] = static_cast<uint8_t>(0x80U | (c & 0x3FU));
  constexpr std::array<uint8_t, 5> kLead = {0, 0, 0xC0, 0xE0, 0xF0};
  out[0] = static_cast<uint8_t>(kLead[n] | c);
  return out;
}

// first to last have the same number of bytes. Cut until all but one trailing run of bytes is
// whole.
void add_utf8(uint32_t first, uint32_t last, size_t n, std::vector<Sequence>& out) {
  for (size_t i = 1; i < n; ++i) {
    const uint32_t low_bits = (uint32_t{1} << (6 * i)) - 1;
    if ((first & ~low_bits) == (last & ~low_bits)) continue;
    if ((first & low_bits) != 0) {
      add_utf8(first, first | low_bits, n, out);
      return add_utf8((first | low_bits) + 1, last, n, out);
    }
    if ((last & low_bits) != low_bits) {
      add_utf8(first, (last & ~low_bits) - 1, n, out);
      return add_utf8(last & ~low_bits, last, n, out);
    }
  }
  const auto low = utf8(first, n), high = utf8(last, n);
  Sequence sequence;
  for (size_t i = 0; i < n; ++i)
    sequence.push_back({low[i], high[i]});
  out.push_back(std::move(sequence));
}

void add_raw(CharacterRange range, std::vector<Sequence>& out) {
  struct Width {
    uint32_t first, last;
    size_t n_bytes;
  };
  constexpr std::array<Width, 5> kWidths = {{{0, 0x7F, 1},
                                             {0x80, 0x7FF, 2},
                                             {0x800, kFirstSurrogate - 1, 3},
                                             {kLastSurrogate + 1, 0xFFFF, 3},
                                             {0x10000, kLastCharacter, 4}}};
  for (const Width& width : kWidths) {
    const uint32_t first = std::max(range.first, width.first);
    const uint32_t last = std::min(range.last, width.last);
    if (first <= last) add_utf8(first, last, width.n_bytes, out);
  }
}

void add_escape(uint32_t c, std::vector<Sequence>& out) {
  constexpr std::string_view kFrom = "\"\\\b\f\n\r\t", kTo = "\"\\bfnrt";
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text = "\\";
  const size_t found = kFrom.find(static_cast<char>(c));
  if (found != std::string_view::npos) {
    text += kTo[found];
  } else {
    text += {'u', '0', '0', kHex[c >> 4U], kHex[c & 15U]};
  }
  Sequence sequence;
  for (const char byte : text)
    sequence.push_back({static_cast<uint8_t>(byte), static_cast<uint8_t>(byte)});
  out.push_back(std::move(sequence));
}

bool is_escaped(uint32_t c) {
  return c < 0x20 || c == '"' || c == '\\';
}

}  // namespace

CharacterSet united(CharacterSet ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  CharacterSet out;
  for (const CharacterRange& range : ranges) {
    if (!out.empty() && range.first <= out.back().last + 1)
      out.back().last = std::max(out.back().last, range.last);
    else
      out.push_back(range);
  }
  return out;
}

CharacterSet complement(const CharacterSet& set) {
  CharacterSet out;
  uint32_t next = 0;
  for (const CharacterRange& range : set) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCharacter) out.push_back({next, kLastCharacter});
  return out;
}

CharacterSet digit_characters() {
  return {{'0', '9'}};
}

CharacterSet word_characters() {
  return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
}

CharacterSet space_characters() {
  return {{0x9, 0xD},       {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}

CharacterSet line_ends() {
  return {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
}

std::vector<std::vector<ByteRange>> spelled(const CharacterSet& set, Spelling spelling) {
  std::vector<Sequence> out;
  for (const CharacterRange& range : set) {
    uint32_t first = range.first;
    for (uint32_t c = first; spelling == Spelling::kJson && c <= range.last && c < 0x80; ++c) {
      if (!is_escaped(c)) continue;
      if (first < c) add_raw({first, c - 1}, out);
      add_escape(c, out);
      first = c + 1;
    }
    if (first <= range.last) add_raw({first, range.last}, out);
  }
  return out;
}

}  // namespace dsa::grammar
