// A set of code points, and the sets that patterns name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/unicode_tables.h"

namespace dsa {

inline constexpr uint32_t kLastCodePoint = 0x10FFFF;

class CodePointSet {
 public:
  CodePointSet() = default;
  CodePointSet(uint32_t first, uint32_t last) : ranges_{{first, last}} {}
  explicit CodePointSet(std::span<const CodePointRange> ranges)
      : ranges_(ranges.begin(), ranges.end()) {}
  static CodePointSet of(std::vector<CodePointRange> ranges);  // in any order

  void add(const CodePointSet& other);
  void add(uint32_t code) { add(CodePointSet(code, code)); }
  CodePointSet complement() const;
  CodePointSet intersection(const CodePointSet& other) const;

  bool contains(uint32_t code) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<CodePointRange>& ranges() const { return ranges_; }  // ascending, with gaps

  friend bool operator==(const CodePointSet& a, const CodePointSet& b);

 private:
  std::vector<CodePointRange> ranges_;
};

// \p{name}: a general category ("Lu", "L", "Uppercase_Letter"), a script or one of the properties
// Alphabetic, Uppercase, Lowercase, White_Space, Emoji, Extended_Pictographic, ASCII, Any,
// Assigned, and POSIX names. Case, spaces, _ and - do not count.
std::optional<CodePointSet> unicode_property(std::string_view name);

// [:name:] in a class, as Oniguruma has it for Unicode.
std::optional<CodePointSet> posix_class(std::string_view name);

}  // namespace dsa
