#include "tokenizer/pattern.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/status_macros.h"
#include "tokenizer/pattern_class.h"

namespace dsa {
namespace {

constexpr std::size_t kMaxPattern = 16 << 10;  // each byte can cost a set of kilobytes
constexpr std::size_t kNone = std::string_view::npos;

// Letters that, ignoring case, are also one character such as U+00DF or U+FB01.
constexpr std::array<std::string_view, 5> kLigatures = {"ss", "ff", "fi", "fl", "st"};

class PatternReader {
 public:
  explicit PatternReader(std::string_view pattern) : in_(pattern) {}
  Result<std::vector<PatternPart>> read();

 private:
  struct Flags {
    bool ignore_case = false;
    bool extended = false;  // blanks and # comments do not count
  };
  struct Group {
    std::size_t begin;    // its first part
    Flags flags;          // to go back to behind it
    bool isolated;        // (?i) alone: ends with the group around it
    bool is_atom = true;  // an assertion is not repeated
  };

  Status read_next();
  Status read_escape();
  Status read_letter_escape(char letter);
  Status open_group();
  Status open_options();
  Status close_group();
  bool read_interval();
  Status add_literal(uint32_t code);
  void add_boundary(bool inside);
  void add_line_break();

  void spell(std::string spelled) {
    parts_.push_back({std::move(spelled), std::nullopt, in_.at()});
  }
  void add_set(CodePointSet set) { parts_.push_back({{}, std::move(set), in_.at()}); }
  void add_atom(CodePointSet set) {
    atom_ = parts_.size();
    add_set(std::move(set));
  }

  PatternCursor in_;
  std::vector<PatternPart> parts_;
  std::vector<Group> groups_;
  Flags flags_;
  std::size_t atom_ = kNone;  // the part that the thing a quantifier repeats begins with
  char letter_ = 0;           // ignoring case: the last literal, in lower case
};

Result<std::vector<PatternPart>> PatternReader::read() {
  while (!in_.done())
    DSA_RETURN_IF_ERROR(read_next());
  while (!groups_.empty() && groups_.back().isolated) {
    spell(")");
    groups_.pop_back();
  }
  if (!groups_.empty()) return in_.corrupt("missing closing parenthesis");
  return std::move(parts_);
}

Status PatternReader::read_next() {
  const char before = std::exchange(letter_, char{0});
  const char next = in_.peek();
  switch (next) {
    case '(':
      return open_group();
    case ')':
      return close_group();
    case '\\':
      return read_escape();
    case '[': {
      in_.take_byte();
      DSA_ASSIGN_OR_RETURN(CodePointSet set, read_class(in_, flags_.ignore_case));
      add_atom(std::move(set));
      return Status();
    }
    case '|':
    case '^':
    case '$':
      atom_ = kNone;
      spell(std::string(1, in_.take_byte()));
      return Status();
    case '.':
      atom_ = parts_.size();
      spell(std::string(1, in_.take_byte()));
      return Status();
    case '*':
    case '+':
    case '?':
      spell(std::string(1, in_.take_byte()));
      return Status();
    case '{':
      if (read_interval()) return Status();
      break;
    default:
      break;
  }
  if (flags_.extended && std::string_view(" \t\n\v\f\r").find(next) != kNone) {
    in_.take_byte();
    return Status();
  }
  if (flags_.extended && next == '#') {
    in_.take_until('\n');
    return Status();
  }
  letter_ = before;
  return add_literal(in_.take_code_point());
}

Status PatternReader::add_literal(uint32_t code) {
  const char before = std::exchange(letter_, char{0});
  DSA_ASSIGN_OR_RETURN(CodePointSet set, character_set(in_, code, flags_.ignore_case));
  if (flags_.ignore_case && code < 0x80) {
    const bool upper = code >= 'A' && code <= 'Z';
    letter_ = static_cast<char>(upper ? code - 'A' + 'a' : code);
    const std::array<char, 2> both = {before, letter_};
    if (std::find(kLigatures.begin(), kLigatures.end(),
                  std::string_view(both.data(), both.size())) != kLigatures.end()) {
      return in_.unsupported("no ss, ff, fi, fl or st where case is ignored");
    }
  }
  add_atom(std::move(set));
  return Status();
}

// {n}, {n,}, {,n} or {n,m}; only the last three may be lazy, and none is possessive: what stands
// behind the brace otherwise repeats the whole.
bool PatternReader::read_interval() {
  PatternCursor in = in_;
  in.take("{");
  const auto low = in.take_number(10, 6);
  const bool comma = in.take(",");
  const auto high = comma ? in.take_number(10, 6) : std::nullopt;
  if (!in.take("}") || (!low && !high)) return false;
  in_ = in;
  const std::string first = std::to_string(low.value_or(0));
  spell("{" + first + (comma ? "," : "") + (high ? std::to_string(*high) : "") + "}");
  if (comma && in_.take("?")) {
    spell("?");
  } else if (atom_ != kNone && !in_.done() && (in_.is("?") || in_.is("+"))) {
    parts_.insert(parts_.begin() + static_cast<std::ptrdiff_t>(atom_), {"(?:", std::nullopt, 0});
    spell(")");
  }
  return true;
}

Status PatternReader::read_escape() {
  in_.take("\\");
  if (in_.done()) return in_.corrupt("\\ at end of pattern");
  const char letter = in_.peek();
  if (auto set = escaped_set(letter, false)) {
    in_.take_byte();
    add_atom(*std::move(set));
    return Status();
  }
  if (in_.is("p{") || in_.is("P{")) {
    DSA_ASSIGN_OR_RETURN(CodePointSet set, read_property(in_));
    add_atom(std::move(set));
    return Status();
  }
  if (std::string_view("bBAzZRNO").find(letter) != kNone)
    return read_letter_escape(in_.take_byte());
  DSA_ASSIGN_OR_RETURN(const uint32_t code, read_escaped_character(in_));
  return add_literal(code);
}

Status PatternReader::read_letter_escape(char letter) {
  const CodePointSet line_feed('\n', '\n');
  switch (letter) {
    case 'b':
    case 'B':
      add_boundary(letter == 'B');
      break;
    case 'R':
      add_line_break();
      break;
    case 'N':
      add_atom(line_feed.complement());
      break;
    case 'O':
      add_atom(CodePointSet(0, kLastCodePoint));
      break;
    default:
      atom_ = kNone;
      spell(std::string("\\") + letter);
      break;
  }
  return Status();
}

// Between a word character and another one, or, inside, between two of the same sort.
void PatternReader::add_boundary(bool inside) {
  const CodePointSet word = *escaped_set('w', false);
  const auto look = [&](const char* how) {
    spell(how);
    add_set(word);
    spell(")");
  };
  spell("(?:");
  look("(?<=");
  look(inside ? "(?=" : "(?!");
  spell("|");
  look("(?<!");
  look(inside ? "(?!" : "(?=");
  spell(")");
  atom_ = kNone;
}

void PatternReader::add_line_break() {
  CodePointSet breaks('\n', '\r');
  breaks.add(0x85);
  breaks.add(CodePointSet(0x2028, 0x2029));
  atom_ = parts_.size();
  spell("(?>\\r\\n|");
  add_set(std::move(breaks));
  spell(")");
}

// Nothing refers to a group, so that none is captured.
Status PatternReader::open_group() {
  in_.take("(");
  if (in_.take("?#")) {
    in_.take_until(')');
    return Status();
  }
  Group group{parts_.size(), flags_, false};
  if (!in_.is("?")) {
    if (in_.is("*")) return in_.unsupported("no callout");
    spell("(?:");
    groups_.push_back(group);
    return Status();
  }
  for (const char* look : {"?<=", "?<!", "?=", "?!", "?>", "?:"}) {
    if (!in_.take(look)) continue;
    group.is_atom = look[1] == '>' || look[1] == ':';
    spell(std::string("(") + look);
    groups_.push_back(group);
    return Status();
  }
  if (in_.is("?<") || in_.is("?'")) {
    in_.take("?");
    in_.take_until(in_.take_byte() == '<' ? '>' : '\'');
    spell("(?:");
    groups_.push_back(group);
    return Status();
  }
  in_.take("?");
  return open_options();
}

// (?imx-imx: or (?imx-imx), which holds until the group around it ends, past any | in it.
Status PatternReader::open_options() {
  Group group{parts_.size(), flags_, false};
  std::string dot;
  for (bool on = true;; in_.take_byte()) {
    if (in_.done()) return in_.corrupt("missing closing parenthesis");
    const char option = in_.peek();
    if (option == ':' || option == ')') break;
    if (option == '-') {
      on = false;
    } else if (option == 'i') {
      flags_.ignore_case = on;
    } else if (option == 'x') {
      flags_.extended = on;
    } else if (option == 'm') {
      dot = on ? "s" : "-s";
    } else {
      return in_.unsupported(
          "a group that is plain, atomic, named, an assertion or of options i, m, x");
    }
  }
  group.isolated = in_.take_byte() == ')';
  spell("(?" + dot + ":");
  groups_.push_back(group);
  atom_ = kNone;
  return Status();
}

Status PatternReader::close_group() {
  while (!groups_.empty() && groups_.back().isolated) {
    spell(")");
    groups_.pop_back();
  }
  if (groups_.empty()) return in_.corrupt("unmatched closing parenthesis");
  in_.take(")");
  spell(")");
  flags_ = groups_.back().flags;
  atom_ = groups_.back().is_atom ? groups_.back().begin : kNone;
  groups_.pop_back();
  return Status();
}

Status check_size(std::string_view pattern) {
  if (pattern.size() <= kMaxPattern) return Status();
  return unsupported("a pattern of {} bytes, want at most {}", pattern.size(), kMaxPattern);
}

}  // namespace

Result<std::vector<PatternPart>> read_literal(std::string_view text) {
  DSA_RETURN_IF_ERROR(check_size(text));
  std::vector<PatternPart> parts;
  for (PatternCursor in(text); !in.done();) {
    const std::size_t at = in.at();
    const uint32_t code = in.take_code_point();
    parts.push_back({{}, CodePointSet(code, code), at});
  }
  return parts;
}

Result<std::vector<PatternPart>> read_pattern(std::string_view pattern) {
  DSA_RETURN_IF_ERROR(check_size(pattern));
  return PatternReader(pattern).read();
}

}  // namespace dsa
