#include "grammar/character_set.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "tokenizer/utf8.h"

namespace dsa::grammar {
namespace {

constexpr uint32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;
using Sequence = std::vector<ByteRange>;

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
  std::string low, high;
  append_utf8(first, low);
  append_utf8(last, high);
  Sequence sequence;
  for (size_t i = 0; i < n; ++i)
    sequence.push_back({static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i])});
  out.push_back(std::move(sequence));
}

void add_raw(CodePointRange range, std::vector<Sequence>& out) {
  struct Width {
    uint32_t first, last;
    size_t n_bytes;
  };
  constexpr std::array<Width, 5> kWidths = {{{0, 0x7F, 1},
                                             {0x80, 0x7FF, 2},
                                             {0x800, kFirstSurrogate - 1, 3},
                                             {kLastSurrogate + 1, 0xFFFF, 3},
                                             {0x10000, kLastCodePoint, 4}}};
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

CodePointSet digit_characters() {
  return {'0', '9'};
}

CodePointSet word_characters() {
  return CodePointSet::of({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
}

CodePointSet space_characters() {
  return CodePointSet::of({{0x9, 0xD},
                           {0x20, 0x20},
                           {0xA0, 0xA0},
                           {0x1680, 0x1680},
                           {0x2000, 0x200A},
                           {0x2028, 0x2029},
                           {0x202F, 0x202F},
                           {0x205F, 0x205F},
                           {0x3000, 0x3000},
                           {0xFEFF, 0xFEFF}});
}

CodePointSet line_ends() {
  return CodePointSet::of({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}});
}

std::vector<std::vector<ByteRange>> spelled(const CodePointSet& set, Spelling spelling) {
  std::vector<Sequence> out;
  for (const CodePointRange& range : set.ranges()) {
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
