#include "tokenizer/pattern_class.h"

#include <utility>

#include "common/status_macros.h"
#include "tokenizer/utf8.h"

namespace dsa {
namespace {

constexpr int kMaxDepth = 32;  // of classes in classes
constexpr uint32_t kIota = 0x345;

// U+017F and U+212A are other spellings of s and k.
void add_other_cases(CodePointSet& set) {
  for (uint32_t lower = 'a'; lower <= 'z'; ++lower) {
    const uint32_t upper = lower - 'a' + 'A';
    if (!set.contains(lower) && !set.contains(upper)) continue;
    set.add(lower);
    set.add(upper);
    if (lower == 's') set.add(0x17F);
    if (lower == 'k') set.add(0x212A);
  }
}

// Without those two.
CodePointSet cased_beyond_ascii() {
  CodePointSet others(0, 0x7F);
  others.add(0x17F);
  others.add(0x212A);
  CodePointSet cased = *unicode_property("LC");
  cased.add(kIota);
  return cased.intersection(others.complement());
}

// One class, and those inside it.
class ClassReader {
 public:
  ClassReader(PatternCursor& in, bool ignore_case) : in_(in), ignore_case_(ignore_case) {}
  Result<CodePointSet> read(int depth);

 private:
  struct Item {
    CodePointSet set;
    std::optional<uint32_t> code;  // one character, which may begin a range
  };
  Result<Item> read_item(int depth);
  Result<Item> read_escape();
  Result<CodePointSet> read_range(Item first);
  Result<CodePointSet> finish(CodePointSet set, bool negated) const;

  PatternCursor& in_;
  bool ignore_case_;
};

Result<CodePointSet> ClassReader::read(int depth) {
  if (depth > kMaxDepth) return in_.unsupported("classes in more than 32 others");
  const bool negated = in_.take("^");
  CodePointSet set;
  std::optional<CodePointSet> both;  // what stands before the last &&
  for (bool first = true;; first = false) {
    if (in_.done()) return in_.corrupt("missing terminating ] for character class");
    if (!first && in_.take("]")) break;
    if (in_.take("&&")) {
      both = both ? both->intersection(set) : set;
      set = CodePointSet();
      continue;
    }
    DSA_ASSIGN_OR_RETURN(Item item, read_item(depth));
    DSA_ASSIGN_OR_RETURN(const CodePointSet range, read_range(std::move(item)));
    set.add(range);
  }
  return finish(both ? both->intersection(set) : std::move(set), negated);
}

Result<ClassReader::Item> ClassReader::read_item(int depth) {
  if (in_.is("[:")) {
    PatternCursor name = in_;
    name.take("[:");
    const bool negated = name.take("^");
    const std::string_view spelled = name.take_until(':');
    if (const auto set = posix_class(spelled); set && name.take("]")) {
      in_ = name;
      return Item{negated ? set->complement() : *set, std::nullopt};
    }
  }
  if (in_.take("[")) {
    DSA_ASSIGN_OR_RETURN(CodePointSet set, read(depth + 1));
    return Item{std::move(set), std::nullopt};
  }
  if (in_.take("\\")) return read_escape();
  const uint32_t code = in_.take_code_point();
  return Item{CodePointSet(code, code), code};
}

Result<ClassReader::Item> ClassReader::read_escape() {
  if (in_.done()) return in_.corrupt("\\ at end of pattern");
  if (auto set = escaped_set(in_.peek(), true)) {
    in_.take_byte();
    return Item{*std::move(set), std::nullopt};
  }
  if (in_.is("p{") || in_.is("P{")) {
    DSA_ASSIGN_OR_RETURN(CodePointSet set, read_property(in_));
    return Item{std::move(set), std::nullopt};
  }
  if (in_.take("b")) return Item{CodePointSet('\b', '\b'), '\b'};
  DSA_ASSIGN_OR_RETURN(const uint32_t code, read_escaped_character(in_));
  return Item{CodePointSet(code, code), code};
}

// A - between two characters makes a range of them; anywhere else it is itself.
Result<CodePointSet> ClassReader::read_range(Item first) {
  if (!first.code || !in_.is("-") || in_.is("-]") || in_.is("-[") || in_.is("-&&")) {
    return std::move(first.set);
  }
  PatternCursor behind = in_;
  behind.take("-");
  if (behind.done()) return std::move(first.set);
  std::swap(in_, behind);
  DSA_ASSIGN_OR_RETURN(const Item last, read_item(kMaxDepth));
  if (!last.code) return in_.corrupt("invalid range in character class");
  if (*last.code < *first.code) return in_.corrupt("range out of order in character class");
  return CodePointSet(*first.code, *last.code);
}

// All letters together are closed but for U+0345, which is an iota.
Result<CodePointSet> ClassReader::finish(CodePointSet set, bool negated) const {
  if (ignore_case_) {
    add_other_cases(set);
    const CodePointSet cased = cased_beyond_ascii();
    const CodePointSet inside = set.intersection(cased);
    if (!inside.empty()) {
      set.add(kIota);
      if (!negated || !(set.intersection(cased) == cased)) {
        return in_.unsupported("ignoring case in a class of ASCII letters alone");
      }
    }
  }
  return negated ? set.complement() : std::move(set);
}

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

}  // namespace

bool PatternCursor::take(std::string_view next) {
  if (!is(next)) return false;
  at_ += next.size();
  return true;
}

uint32_t PatternCursor::take_code_point() {
  const std::size_t n_bytes = first_utf8_part(text_.substr(at_)).n_bytes;
  const uint32_t code = code_point(text_.substr(at_, n_bytes));
  at_ += n_bytes;
  return code;
}

std::string_view PatternCursor::take_until(char end) {
  const std::size_t found = text_.find(end, at_);
  const std::string_view taken = text_.substr(at_, found - at_);
  at_ = found == std::string_view::npos ? text_.size() : found + 1;
  return taken;
}

std::optional<uint32_t> PatternCursor::take_number(int base, std::size_t max_digits) {
  uint32_t value = 0;
  std::size_t n = 0;
  for (; n < max_digits && !done(); ++n) {
    const char c = peek();
    int digit = base;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (digit >= base) break;
    value = value * static_cast<uint32_t>(base) + static_cast<uint32_t>(digit);
    ++at_;
  }
  return n == 0 ? std::nullopt : std::optional<uint32_t>(value);
}

Status PatternCursor::corrupt(std::string_view what) const {
  return corruption("{} at byte {} of the pattern", what, at_);
}
Status PatternCursor::unsupported(std::string_view what) const {
  return dsa::unsupported("byte {} of the pattern, want {}", at_, what);
}

std::optional<CodePointSet> escaped_set(char letter, bool in_class) {
  std::optional<CodePointSet> set;
  switch (letter) {
    case 'd':
    case 'D':
      set = posix_class("digit");
      break;
    case 's':
    case 'S':
      set = posix_class("space");
      break;
    case 'h':
    case 'H':
      set = posix_class("xdigit");
      break;
    case 'w':
    case 'W':
      set = posix_class("word");
      for (const uint32_t code : {0xB2U, 0xB3U, 0xB9U, 0xBCU, 0xBDU, 0xBEU}) {
        if (!in_class) set->add(code);
      }
      break;
    default:
      return std::nullopt;
  }
  return letter < 'a' ? set->complement() : set;
}

Result<CodePointSet> read_property(PatternCursor& in) {
  const bool negated = in.take_byte() == 'P';
  in.take("{");
  const bool caret = in.take("^");
  const std::string_view name = in.take_until('}');
  const auto set = unicode_property(name);
  if (!set) return in.corrupt(fmt::format("unknown property {{{}}}", name));
  return negated != caret ? set->complement() : *set;
}

Result<uint32_t> read_escaped_character(PatternCursor& in) {
  constexpr std::string_view kNamed = "tnvfrae";
  constexpr std::string_view kControls = "\t\n\v\f\r\a\x1B";
  if (const std::size_t i = kNamed.find(in.peek()); i != std::string_view::npos) {
    in.take_byte();
    return static_cast<uint32_t>(kControls[i]);
  }
  if (in.peek() == '0') return *in.take_number(8, 3);
  std::optional<uint32_t> code;
  if (in.take("x{")) {
    code = in.take_number(16, 8);
    if (!in.take("}")) code.reset();
    if (!code || *code > kLastCodePoint) return in.corrupt("not a character in \\x{}");
    return *code;
  }
  if (in.take("x")) {
    code = in.take_number(16, 2);
    if (!code) return in.corrupt("digits missing in \\x");
    if (*code >= 0x80) return in.unsupported("\\x{80} or more in braces");
    return *code;
  }
  if (in.take("u")) {
    code = in.take_number(16, 4);
    if (!code) return in.corrupt("digits missing in \\u");
    return *code;
  }
  if (is_alphanumeric(in.peek()) && !in.is("p") && !in.is("P")) {
    return in.unsupported(fmt::format("no \\{}", in.peek()));
  }
  return in.take_code_point();
}

Result<CodePointSet> read_class(PatternCursor& in, bool ignore_case) {
  return ClassReader(in, ignore_case).read(0);
}

Result<CodePointSet> character_set(const PatternCursor& in, uint32_t code, bool ignore_case) {
  CodePointSet set(code, code);
  if (!ignore_case) return set;
  if (cased_beyond_ascii().contains(code)) {
    return in.unsupported("ignoring case of ASCII letters alone");
  }
  add_other_cases(set);
  return set;
}

}  // namespace dsa
