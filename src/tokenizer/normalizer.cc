#include "tokenizer/normalizer.h"

#include <algorithm>
#include <optional>
#include <span>

#include "tokenizer/unicode_tables.h"
#include "tokenizer/utf8.h"

namespace dsa {
namespace {

// Hangul syllables by arithmetic: Unicode, section 3.12.
constexpr uint32_t kSyllables = 0xAC00;
constexpr uint32_t kLeads = 0x1100;
constexpr uint32_t kVowels = 0x1161;
constexpr uint32_t kTails = 0x11A7;  // one before the first: no tail
constexpr uint32_t kNLeads = 19;
constexpr uint32_t kNVowels = 21;
constexpr uint32_t kNTails = 28;
constexpr uint32_t kNSyllables = kNLeads * kNVowels * kNTails;

constexpr uint32_t kFirstComposed = 0xA0;  // nothing below has a decomposition or a class

uint32_t combining_class(uint32_t code) {
  if (code < 0x300) return 0;
  const auto classes = combining_classes();
  const auto found =
      std::partition_point(classes.begin(), classes.end(),
                           [&](const CombiningClass& entry) { return entry.last < code; });
  return found != classes.end() && found->first <= code ? found->value : 0;
}

std::span<const char32_t> decomposition_in(std::span<const Decomposition> table, uint32_t code) {
  const auto found = std::partition_point(table.begin(), table.end(),
                                          [&](const Decomposition& d) { return d.code < code; });
  if (found == table.end() || found->code != code) return {};
  return decomposed().subspan(found->begin, found->size);
}

std::optional<uint32_t> composition(uint32_t first, uint32_t second) {
  if (first - kLeads < kNLeads && second - kVowels < kNVowels) {
    return kSyllables + ((first - kLeads) * kNVowels + (second - kVowels)) * kNTails;
  }
  const bool no_tail = first - kSyllables < kNSyllables && (first - kSyllables) % kNTails == 0;
  if (no_tail && second > kTails && second - kTails < kNTails) return first + (second - kTails);
  const auto pairs = compositions();
  const auto found = std::partition_point(pairs.begin(), pairs.end(), [&](const Composition& pair) {
    return pair.first != first ? pair.first < first : pair.second < second;
  });
  const bool known = found != pairs.end() && found->first == first && found->second == second;
  return known ? std::optional<uint32_t>(found->result) : std::nullopt;
}

// A run of UTF-8 in one form.
class Run {
 public:
  Run(std::string_view text, NormalForm form);
  void append_to(std::string& out) const;

 private:
  struct Character {
    uint32_t code;
    uint32_t combining;
  };
  void decompose(uint32_t code, bool compatible);
  void order();
  void compose();

  std::vector<Character> characters_;
};

Run::Run(std::string_view text, NormalForm form) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  characters_.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n_bytes = first_utf8_part(text.substr(i)).n_bytes;
    decompose(code_point(text.substr(i, n_bytes)), compatible);
    i += n_bytes;
  }
  order();
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) compose();
}

void Run::append_to(std::string& out) const {
  for (const Character& character : characters_)
    append_utf8(character.code, out);
}

void Run::decompose(uint32_t code, bool compatible) {
  const auto put = [&](uint32_t c) { characters_.push_back({c, combining_class(c)}); };
  if (code < kFirstComposed) return put(code);
  if (code - kSyllables < kNSyllables) {
    const uint32_t syllable = code - kSyllables;
    put(kLeads + syllable / (kNVowels * kNTails));
    put(kVowels + syllable / kNTails % kNVowels);
    if (syllable % kNTails != 0) put(kTails + syllable % kNTails);
    return;
  }
  std::span<const char32_t> parts;
  if (compatible) parts = decomposition_in(compatible_decompositions(), code);
  if (parts.empty()) parts = decomposition_in(canonical_decompositions(), code);
  if (parts.empty()) return put(code);
  for (const char32_t part : parts)
    put(part);
}

// Marks between two characters of class 0 ascend by class; equals keep their order.
void Run::order() {
  const auto is_mark = [](const Character& c) { return c.combining != 0; };
  for (auto begin = characters_.begin(); begin != characters_.end();) {
    begin = std::find_if(begin, characters_.end(), is_mark);
    const auto end = std::find_if_not(begin, characters_.end(), is_mark);
    std::stable_sort(begin, end, [](const Character& a, const Character& b) {
      return a.combining < b.combining;
    });
    begin = end;
  }
}

// A character joins the last one of class 0 unless one that stands between blocks it: one of the
// same class or a higher one, or any at all for a character of class 0.
void Run::compose() {
  std::size_t n = 0;
  std::optional<std::size_t> starter;
  for (std::size_t i = 0; i < characters_.size(); ++i) {
    const Character character = characters_[i];  // n is never past i
    const bool adjacent = starter && *starter + 1 == n;
    const bool blocked =
        !adjacent && starter && characters_[n - 1].combining >= character.combining;
    if (starter && !blocked) {
      if (const auto joined = composition(characters_[*starter].code, character.code)) {
        characters_[*starter].code = *joined;
        continue;
      }
    }
    if (character.combining == 0) starter = n;
    characters_[n++] = character;
  }
  characters_.resize(n);
}

std::string to_form(std::string_view text, NormalForm form) {
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0;
  const auto finish_run = [&](std::size_t end) {
    if (end > done) Run(text.substr(done, end - done), form).append_to(out);
  };
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Part part = first_utf8_part(text.substr(i));
    if (part.kind != Utf8Kind::kWhole) {
      finish_run(i);
      out += text.substr(i, part.n_bytes);
      done = i + part.n_bytes;
    }
    i += part.n_bytes;
  }
  finish_run(text.size());
  return out;
}

}  // namespace

std::string Normalizer::normalize(std::string_view text) const {
  std::string result(text);
  for (const NormalForm form : forms_)
    result = to_form(result, form);
  return result;
}

}  // namespace dsa
