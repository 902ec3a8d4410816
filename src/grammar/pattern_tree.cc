#include "grammar/pattern_tree.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "common/status_macros.h"
#include "tokenizer/utf8.h"

namespace dsa::grammar {
namespace {

constexpr int32_t kMaxNesting = 100;
constexpr int64_t kMaxRepeats = 1000;

Result<std::u32string> decoded(std::string_view text) {
  std::u32string out;
  while (!text.empty()) {
    const Utf8Part part = first_utf8_part(text);
    if (part.kind != Utf8Kind::kWhole) return invalid_argument("not UTF-8");
    out += static_cast<char32_t>(code_point(text.substr(0, part.n_bytes)));
    text.remove_prefix(part.n_bytes);
  }
  return out;
}

PatternNode characters(CodePointSet set) {
  PatternNode node;
  node.kind = PatternKind::kCharacter;
  node.set = std::move(set);
  return node;
}

PatternNode anchor(PatternKind kind) {
  PatternNode node;
  node.kind = kind;
  return node;
}

bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}

class PatternParser {
 public:
  explicit PatternParser(std::u32string text) : text_(std::move(text)) {}

  Result<PatternNode> parse() {
    DSA_ASSIGN_OR_RETURN(PatternNode node, choice());
    if (at_ < text_.size()) return wrong("')' without '('");
    return node;
  }

 private:
  bool next_is(char32_t c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(std::u32string_view word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  Status wrong(std::string_view what) const {
    return invalid_argument("{} (at character {})", what, at_);
  }
  Status missing(std::string_view what) const {
    return unsupported("{} is not supported (at character {})", what, at_);
  }

  Result<PatternNode> choice();
  Result<PatternNode> sequence();
  Result<PatternNode> repeated(PatternNode item);
  bool read_braces(int64_t& least, int64_t& most);
  Result<PatternNode> atom();
  Result<PatternNode> group();
  Result<CodePointSet> class_item();
  Result<CodePointSet> bracket();
  Result<CodePointSet> escape();
  Result<uint32_t> hex(size_t n);
  Result<uint32_t> unicode_escape();

  std::u32string text_;
  size_t at_ = 0;
  int32_t nesting_ = 0;
};

Result<PatternNode> PatternParser::choice() {
  PatternNode out;
  out.kind = PatternKind::kChoice;
  do {
    DSA_ASSIGN_OR_RETURN(PatternNode branch, sequence());
    out.children.push_back(std::move(branch));
  } while (take(U"|"));
  return out;
}

Result<PatternNode> PatternParser::sequence() {
  PatternNode out;
  while (at_ < text_.size() && !next_is('|') && !next_is(')')) {
    DSA_ASSIGN_OR_RETURN(PatternNode item, atom());
    DSA_ASSIGN_OR_RETURN(item, repeated(std::move(item)));
    out.children.push_back(std::move(item));
  }
  return out;
}

// {n}, {n,} or {n,m}; anything else after a brace is the brace itself.
bool PatternParser::read_braces(int64_t& least, int64_t& most) {
  size_t i = at_ + 1;
  const auto number = [&](int64_t& value) {
    const size_t from = i;
    for (value = 0; i < text_.size() && is_digit(text_[i]); ++i)
      value = std::min<int64_t>(value * 10 + (text_[i] - '0'), kMaxRepeats + 1);
    return i > from;
  };
  if (!number(least)) return false;
  most = least;
  if (i < text_.size() && text_[i] == ',') {
    ++i;
    if (!number(most)) most = -1;
  }
  if (i >= text_.size() || text_[i] != '}') return false;
  at_ = i + 1;
  return true;
}

Result<PatternNode> PatternParser::repeated(PatternNode item) {
  PatternNode out;
  out.kind = PatternKind::kRepeat;
  if (take(U"*")) {
  } else if (take(U"+")) {
    out.least = 1;
  } else if (take(U"?")) {
    out.most = 1;
  } else if (!next_is('{') || !read_braces(out.least, out.most)) {
    return item;
  }
  take(U"?");  // lazy: the same texts
  if (std::max(out.least, out.most) > kMaxRepeats) {
    return unsupported("more than {} repetitions (at character {})", kMaxRepeats, at_);
  }
  if (out.most >= 0 && out.least > out.most) return wrong("a repetition of more than its most");
  const bool again = next_is('*') || next_is('+') || next_is('?');
  if (again) return wrong("nothing to repeat");
  out.children.push_back(std::move(item));
  return out;
}

Result<PatternNode> PatternParser::atom() {
  if (take(U"(")) return group();
  if (take(U"^")) return anchor(PatternKind::kBegin);
  if (take(U"$")) return anchor(PatternKind::kEnd);
  if (take(U".")) return characters(line_ends().complement());
  if (take(U"[")) {
    DSA_ASSIGN_OR_RETURN(CodePointSet set, bracket());
    return characters(std::move(set));
  }
  if (take(U"\\")) {
    if (next_is('b') || next_is('B')) return missing("\\b");
    DSA_ASSIGN_OR_RETURN(CodePointSet set, escape());
    return characters(std::move(set));
  }
  if (next_is('*') || next_is('+') || next_is('?')) return wrong("nothing to repeat");
  const char32_t c = text_[at_++];
  return characters(CodePointSet(c, c));
}

// What follows an opening parenthesis.
Result<PatternNode> PatternParser::group() {
  if (++nesting_ > kMaxNesting) return missing("deeper nesting");
  if (take(U"?=") || take(U"?!") || take(U"?<=") || take(U"?<!")) return missing("look-around");
  if (take(U"?<") || take(U"?P<")) {
    const size_t end = text_.find(U'>', at_);
    if (end == std::u32string::npos) return wrong("a group's name that does not end");
    at_ = end + 1;
  } else if (!take(U"?:") && next_is('?')) {
    return missing("this kind of group");
  }
  DSA_ASSIGN_OR_RETURN(PatternNode inside, choice());
  if (!take(U")")) return wrong("'(' without ')'");
  --nesting_;
  return inside;
}

// One character of a class or an escape in it.
Result<CodePointSet> PatternParser::class_item() {
  const char32_t c = text_[at_++];
  if (c == '\\') return escape();
  return CodePointSet(c, c);
}

// The only character of a set; none where there are others.
std::optional<uint32_t> only_character(const CodePointSet& set) {
  const auto& ranges = set.ranges();
  const bool one = ranges.size() == 1 && ranges[0].first == ranges[0].last;
  return one ? std::optional(ranges[0].first) : std::nullopt;
}

// What follows an opening bracket, up to the closing one.
Result<CodePointSet> PatternParser::bracket() {
  const bool negated = take(U"^");
  std::vector<CodePointRange> ranges;
  while (!take(U"]")) {
    if (at_ >= text_.size()) return wrong("'[' without ']'");
    DSA_ASSIGN_OR_RETURN(CodePointSet item, class_item());
    const auto first = only_character(item);
    const bool range = first && next_is('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
    if (range) {
      ++at_;
      DSA_ASSIGN_OR_RETURN(const CodePointSet end, class_item());
      const auto last = only_character(end);
      if (!last) return wrong("a range up to a class");
      if (*last < *first) return wrong("a range out of order");
      item = CodePointSet(*first, *last);
    }
    ranges.insert(ranges.end(), item.ranges().begin(), item.ranges().end());
  }
  const CodePointSet set = CodePointSet::of(std::move(ranges));
  return negated ? set.complement() : set;
}

Result<uint32_t> PatternParser::hex(size_t n) {
  uint32_t value = 0;
  for (size_t i = 0; i < n; ++i, ++at_) {
    constexpr std::u32string_view kHex = U"0123456789abcdefABCDEF";
    const size_t digit = at_ < text_.size() ? kHex.find(text_[at_]) : std::u32string_view::npos;
    if (digit == std::u32string_view::npos) return wrong("want a hexadecimal digit");
    value = value * 16 + static_cast<uint32_t>(digit < 16 ? digit : digit - 6);
  }
  return value;
}

// After \u: four digits, a pair of surrogates, or any number of digits in braces.
Result<uint32_t> PatternParser::unicode_escape() {
  if (take(U"{")) {
    const size_t end = text_.find(U'}', at_);
    if (end == std::u32string::npos || end - at_ > 6) return wrong("want \\u{hexadecimal digits}");
    DSA_ASSIGN_OR_RETURN(const uint32_t value, hex(end - at_));
    ++at_;
    if (value > kLastCodePoint) return wrong("past the last character");
    return value;
  }
  DSA_ASSIGN_OR_RETURN(const uint32_t high, hex(4));
  if (high < 0xD800 || high > 0xDBFF || !take(U"\\u")) return high;
  DSA_ASSIGN_OR_RETURN(const uint32_t low, hex(4));
  if (low < 0xDC00 || low > 0xDFFF) return wrong("half a pair of surrogates");
  return 0x10000 + ((high - 0xD800) << 10U) + (low - 0xDC00);
}

// What follows a backslash.
Result<CodePointSet> PatternParser::escape() {
  if (at_ >= text_.size()) return wrong("a backslash at the end");
  const char32_t c = text_[at_++];
  constexpr std::u32string_view kFrom = U"tnrfvb0", kTo = {U"\t\n\r\f\v\b\0", 7};
  switch (c) {
    case 'd':
      return digit_characters();
    case 'w':
      return word_characters();
    case 's':
      return space_characters();
    case 'D':
      return digit_characters().complement();
    case 'W':
      return word_characters().complement();
    case 'S':
      return space_characters().complement();
    case 'x': {
      DSA_ASSIGN_OR_RETURN(const uint32_t value, hex(2));
      return CodePointSet(value, value);
    }
    case 'u': {
      DSA_ASSIGN_OR_RETURN(const uint32_t value, unicode_escape());
      return CodePointSet(value, value);
    }
    default:
      break;
  }
  const size_t control = kFrom.find(c);
  const bool octal = c == '0' && at_ < text_.size() && is_digit(text_[at_]);
  if (control != std::u32string_view::npos && !octal) {
    const auto value = static_cast<uint32_t>(kTo[control]);
    return CodePointSet(value, value);
  }
  if (is_digit(c)) return missing("a back reference");
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
    return missing(std::string("\\") + static_cast<char>(c));
  }
  return CodePointSet(c, c);
}

}  // namespace

Result<PatternNode> parse_pattern(std::string_view pattern) {
  DSA_ASSIGN_OR_RETURN(std::u32string text, decoded(pattern));
  return PatternParser(std::move(text)).parse();
}

}  // namespace dsa::grammar
