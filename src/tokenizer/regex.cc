#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <vector>

#include "common/status_macros.h"
#include "tokenizer/pattern.h"

namespace dsa {
namespace {

constexpr std::size_t kStackStart = 32 << 10;
constexpr std::size_t kStackMax = 64 << 20;
constexpr int64_t kStepsPerText = 10'000'000;
constexpr int64_t kStepsPerByte = 64;
constexpr int64_t kFirstLimit = 1000;
constexpr int64_t kLimitMax = int64_t{1} << 30;

PCRE2_SPTR code_units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

std::string reason_of(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  const int n = pcre2_get_error_message(code, buffer.data(), buffer.size());
  return n < 0 ? fmt::format("PCRE2 error {}", code)
               : std::string(buffer.begin(), buffer.begin() + n);
}

template <class T>
T* or_bad_alloc(T* pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

}  // namespace

void RegexScratch::Free::operator()(pcre2_real_match_data_8* data) const {
  pcre2_match_data_free(data);
}
void RegexScratch::Free::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}
void RegexScratch::Free::operator()(pcre2_real_jit_stack_8* stack) const {
  pcre2_jit_stack_free(stack);
}
void Regex::Free::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

RegexScratch::RegexScratch()
    : stack_(or_bad_alloc(pcre2_jit_stack_create(kStackStart, kStackMax, nullptr))),
      context_(or_bad_alloc(pcre2_match_context_create(nullptr))),
      data_(or_bad_alloc(pcre2_match_data_create(1, nullptr))) {
  pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
}

void RegexScratch::allow_steps_for(std::size_t text_bytes) {
  steps_left_ = kStepsPerText + kStepsPerByte * static_cast<int64_t>(text_bytes);
}

namespace {

struct CompileContext {
  struct Free {
    void operator()(pcre2_compile_context* made) const { pcre2_compile_context_free(made); }
  };
  std::unique_ptr<pcre2_compile_context, Free> context;

  // How PCRE2 was built says what ends a line otherwise.
  CompileContext() : context(or_bad_alloc(pcre2_compile_context_create(nullptr))) {
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  }
};

// A set as a class of bytes.
std::string spell_symbols(const Alphabet::Symbols& symbols) {
  if (symbols.none()) return "[^\\x00-\\xFF]";
  std::string spelled = "[";
  for (std::size_t first = 0; first < symbols.size(); ++first) {
    if (!symbols[first]) continue;
    std::size_t last = first;
    while (last + 1 < symbols.size() && symbols[last + 1])
      ++last;
    spelled += fmt::format("\\x{:02X}", first);
    if (last > first) spelled += fmt::format("-\\x{:02X}", last);
    first = last;
  }
  return symbols.count() == 1 ? spelled.substr(1) : spelled + "]";
}

// The pattern for PCRE2, and for each of its bytes the place in the pattern that was read.
struct Spelled {
  std::string text;
  std::vector<std::size_t> at;

  void add(std::string_view part, std::size_t from) {
    text += part;
    at.resize(text.size(), from);
  }
};

std::vector<CodePointSet> sets_of(std::span<const Pattern* const> patterns) {
  std::vector<CodePointSet> sets;
  for (const Pattern* pattern : patterns) {
    for (const PatternPart& part : pattern->parts) {
      if (part.set && std::find(sets.begin(), sets.end(), *part.set) == sets.end()) {
        sets.push_back(*part.set);
      }
    }
  }
  return sets;
}

}  // namespace

Result<Pattern> Pattern::read(std::string name, std::string_view spelled, bool literal) {
  auto parts = literal ? read_literal(spelled) : read_pattern(spelled);
  if (!parts.ok()) return error(parts.status().code(), "{}: {}", name, parts.status().message());
  return Pattern{std::move(name), *std::move(parts)};
}

Result<Alphabet> Pattern::alphabet(std::span<const Pattern* const> patterns) {
  std::optional<Alphabet> alphabet = Alphabet::of(sets_of(patterns));
  if (alphabet) return *std::move(alphabet);
  return unsupported("{}: tells apart more than 128 kinds of characters, want fewer",
                     patterns.front()->name);
}

Result<Regex> Regex::compile(const Pattern& pattern, const Alphabet& alphabet) {
  Spelled spelled;
  for (const PatternPart& part : pattern.parts) {
    spelled.add(part.set ? spell_symbols(alphabet.symbols_of(*part.set)) : part.spelled, part.at);
  }
  int code = 0;
  PCRE2_SIZE offset = 0;
  const CompileContext context;
  Regex regex(pcre2_compile(code_units(spelled.text), spelled.text.size(),
                            PCRE2_MULTILINE | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP, &code, &offset,
                            context.context.get()));
  if (regex.code_ == nullptr) {
    const std::size_t at =
        spelled.at.empty() ? 0 : spelled.at[std::min(offset, spelled.at.size() - 1)];
    return corruption("{}: {} at byte {} of the pattern", pattern.name, reason_of(code), at);
  }
  // Where no executable memory is to be had, pcre2_match() interprets the pattern instead.
  static_cast<void>(pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE));
  return regex;
}

Result<std::optional<RegexMatch>> RegexMatches::next() {
  while (from_ <= symbols_.size()) {
    const int code = match();
    if (code == PCRE2_ERROR_NOMATCH) break;
    if (code < 0) {
      return error(StatusCode::kResourceExhausted, "pattern at character {} of {}: {}", from_,
                   symbols_.size(), reason_of(code));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(scratch_.data_.get());
    const RegexMatch found{ends[0], ends[1]};
    const bool empty = found.begin == found.end;
    from_ = found.end + (empty ? 1 : 0);
    if (empty && last_end_ == found.end) continue;
    last_end_ = found.end;
    return std::optional<RegexMatch>(found);
  }
  return std::optional<RegexMatch>();
}

// PCRE2 bounds the steps of one match, not of many: a match begins with a small limit, and only one
// that needs more is charged for the larger limit it is given.
int RegexMatches::match() const {
  for (int64_t limit = kFirstLimit;;
       limit = std::min({8 * limit, kLimitMax, scratch_.steps_left_})) {
    pcre2_set_match_limit(scratch_.context_.get(), static_cast<uint32_t>(limit));
    const int code = pcre2_match(regex_.code_.get(), code_units(symbols_), symbols_.size(), from_,
                                 0, scratch_.data_.get(), scratch_.context_.get());
    if (code != PCRE2_ERROR_MATCHLIMIT) return code;
    scratch_.steps_left_ -= limit;
    if (scratch_.steps_left_ <= 0) return code;
  }
}

}  // namespace dsa
