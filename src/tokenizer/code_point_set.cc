#include "tokenizer/code_point_set.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <string>

namespace dsa {
namespace {

struct LongName {
  std::string_view name;
  std::string_view category;  // one, or the letter that several begin with
};

constexpr LongName kLongNames[] = {{"letter", "l"},
                                   {"uppercaseletter", "lu"},
                                   {"lowercaseletter", "ll"},
                                   {"titlecaseletter", "lt"},
                                   {"modifierletter", "lm"},
                                   {"otherletter", "lo"},
                                   {"mark", "m"},
                                   {"combiningmark", "m"},
                                   {"nonspacingmark", "mn"},
                                   {"spacingmark", "mc"},
                                   {"enclosingmark", "me"},
                                   {"number", "n"},
                                   {"decimalnumber", "nd"},
                                   {"letternumber", "nl"},
                                   {"othernumber", "no"},
                                   {"punctuation", "p"},
                                   {"connectorpunctuation", "pc"},
                                   {"dashpunctuation", "pd"},
                                   {"openpunctuation", "ps"},
                                   {"closepunctuation", "pe"},
                                   {"initialpunctuation", "pi"},
                                   {"finalpunctuation", "pf"},
                                   {"otherpunctuation", "po"},
                                   {"symbol", "s"},
                                   {"mathsymbol", "sm"},
                                   {"currencysymbol", "sc"},
                                   {"modifiersymbol", "sk"},
                                   {"othersymbol", "so"},
                                   {"separator", "z"},
                                   {"spaceseparator", "zs"},
                                   {"lineseparator", "zl"},
                                   {"paragraphseparator", "zp"},
                                   {"other", "c"},
                                   {"control", "cc"},
                                   {"format", "cf"},
                                   {"surrogate", "cs"},
                                   {"privateuse", "co"},
                                   {"unassigned", "cn"}};

// The union of classes of the table: those with that name, and for one letter those that begin with
// it and have two.
CodePointSet classes(std::initializer_list<std::string_view> names) {
  CodePointSet set;
  for (const NamedClass& known : unicode_classes()) {
    const bool wanted = std::any_of(names.begin(), names.end(), [&](std::string_view name) {
      return name == known.name ||
             (name.size() == 1 && known.name.size() == 2 && known.name[0] == name[0]);
    });
    if (wanted) set.add(CodePointSet(known.ranges));
  }
  return set;
}

std::string plain_name(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '-') continue;
    plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return plain;
}

bool begins_before(const CodePointRange& a, const CodePointRange& b) {
  return a.first < b.first;
}

// Those that overlap or touch as one.
std::vector<CodePointRange> joined(std::span<const CodePointRange> ascending) {
  std::vector<CodePointRange> out;
  for (const CodePointRange& range : ascending) {
    if (!out.empty() && range.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, range.last);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

std::optional<CodePointSet> derived(std::string_view name) {
  if (name == "alphabetic") return classes({"l", "nl", "otheralphabetic"});
  if (name == "uppercase") return classes({"lu", "otheruppercase"});
  if (name == "lowercase") return classes({"ll", "otherlowercase"});
  if (name == "lc" || name == "casedletter") return classes({"lu", "ll", "lt"});
  if (name == "ascii") return CodePointSet(0, 0x7F);
  if (name == "any") return CodePointSet(0, kLastCodePoint);
  if (name == "assigned") return classes({"cn"}).complement();
  return std::nullopt;
}

}  // namespace

CodePointSet CodePointSet::of(std::vector<CodePointRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), begins_before);
  CodePointSet set;
  set.ranges_ = joined(ranges);
  return set;
}

void CodePointSet::add(const CodePointSet& other) {
  std::vector<CodePointRange> all;
  all.reserve(ranges_.size() + other.ranges_.size());
  std::merge(ranges_.begin(), ranges_.end(), other.ranges_.begin(), other.ranges_.end(),
             std::back_inserter(all), begins_before);
  ranges_ = joined(all);
}

CodePointSet CodePointSet::complement() const {
  CodePointSet result;
  uint32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.first > next) result.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) result.ranges_.push_back({next, kLastCodePoint});
  return result;
}

CodePointSet CodePointSet::intersection(const CodePointSet& other) const {
  CodePointSet outside = complement();
  outside.add(other.complement());
  return outside.complement();
}

bool CodePointSet::contains(uint32_t code) const {
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), code,
                       [](uint32_t c, const CodePointRange& range) { return c < range.first; });
  return after != ranges_.begin() && code <= std::prev(after)->last;
}

bool operator==(const CodePointSet& a, const CodePointSet& b) {
  return std::equal(a.ranges_.begin(), a.ranges_.end(), b.ranges_.begin(), b.ranges_.end(),
                    [](const CodePointRange& x, const CodePointRange& y) {
                      return x.first == y.first && x.last == y.last;
                    });
}

std::optional<CodePointSet> unicode_property(std::string_view name) {
  const std::string plain = plain_name(name);
  if (auto set = derived(plain)) return set;
  std::string_view key = plain == "punct" ? "p" : std::string_view(plain);  // without symbols
  if (auto set = posix_class(key)) return set;
  for (const LongName& known : kLongNames) {
    if (known.name == key) key = known.category;
  }
  if (key.substr(0, 5) == "other") return std::nullopt;  // parts of derived properties
  CodePointSet set = classes({key});
  return set.empty() ? std::nullopt : std::optional<CodePointSet>(std::move(set));
}

std::optional<CodePointSet> posix_class(std::string_view name) {
  if (name == "alpha") return derived("alphabetic");
  if (name == "upper") return derived("uppercase");
  if (name == "lower") return derived("lowercase");
  if (name == "digit") return classes({"nd"});
  if (name == "space") return classes({"whitespace"});
  if (name == "punct") return classes({"p", "s"});
  if (name == "cntrl") return classes({"cc"});
  if (name == "ascii") return CodePointSet(0, 0x7F);
  if (name == "alnum") return classes({"l", "nl", "otheralphabetic", "nd"});
  if (name == "word") return classes({"l", "nl", "otheralphabetic", "m", "nd", "pc"});
  if (name == "graph") return classes({"whitespace", "cc", "cs", "cn"}).complement();
  if (name == "print") {
    CodePointSet set = classes({"whitespace", "cc", "cs", "cn"}).complement();
    set.add(classes({"zs"}));
    return set;
  }
  if (name == "blank") {
    CodePointSet set = classes({"zs"});
    set.add('\t');
    return set;
  }
  if (name == "xdigit") {
    CodePointSet set('0', '9');
    set.add(CodePointSet('A', 'F'));
    set.add(CodePointSet('a', 'f'));
    return set;
  }
  return std::nullopt;
}

}  // namespace dsa
