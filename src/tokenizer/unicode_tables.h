// What the tokenizer knows of Unicode: tables compiled in, so that no id depends on the version a
// system's libraries have. tools/make_unicode_tables writes them and says where they come from.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace dsa {

struct CodePointRange {
  uint32_t first;
  uint32_t last;  // included
};

// A general category ("lu"), a script ("oldturkic") or a part of a derived property
// ("otheralphabetic"), of Unicode 16.0: lower case, without underscores. Ranges ascend, with gaps.
struct NamedClass {
  std::string_view name;
  std::span<const CodePointRange> ranges;
};

std::span<const NamedClass> unicode_classes();  // by name

// Normalization, of Unicode 9.0 as in the `tokenizers` library. Hangul syllables are left out: they
// are computed.
struct Decomposition {
  uint32_t code;
  uint32_t begin;  // in decomposed()
  uint32_t size;
};
struct Composition {
  uint32_t first;
  uint32_t second;
  uint32_t result;
};
struct CombiningClass {
  uint32_t first;
  uint32_t last;   // included
  uint32_t value;  // never 0
};

std::span<const char32_t> decomposed();
std::span<const Decomposition> canonical_decompositions();   // by code, in full
std::span<const Decomposition> compatible_decompositions();  // only where that is another one
std::span<const Composition> compositions();                 // by first, then second
std::span<const CombiningClass> combining_classes();         // by first

}  // namespace dsa
