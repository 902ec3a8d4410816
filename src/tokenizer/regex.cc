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
#include "tokenizer/utf8.h"

namespace dsa {
namespace {

constexpr std::size_t kStackStart = 32 << 10;
constexpr std::size_t kStackMax = 64 << 20;
constexpr int64_t kStepsPerText = 10'000'000;
constexpr int64_t kStepsPerByte = 64;
constexpr int64_t kFirstLimit = 1000;
constexpr std::size_t kKeptSymbols = 1 << 20;  // memory that a scratch keeps between texts
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

std::size_t utf8_bytes(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

Result<Regex> Regex::compile(std::string_view pattern, bool literal) {
  Regex regex;
  if (literal) {
    regex.literal_ = pattern;
    return regex;
  }
  DSA_ASSIGN_OR_RETURN(const std::vector<PatternPart> parts, read_pattern(pattern));
  std::vector<CodePointSet> sets;
  for (const PatternPart& part : parts) {
    if (part.set && std::find(sets.begin(), sets.end(), *part.set) == sets.end()) {
      sets.push_back(*part.set);
    }
  }
  std::optional<Alphabet> alphabet = Alphabet::of(sets);
  if (!alphabet) return unsupported("a pattern that tells apart more than 128 kinds of characters");
  regex.alphabet_ = *std::move(alphabet);
  Spelled spelled;
  for (const PatternPart& part : parts) {
    const auto set = part.set ? std::find(sets.begin(), sets.end(), *part.set) : sets.end();
    spelled.add(set == sets.end()
                    ? part.spelled
                    : spell_symbols(
                          regex.alphabet_.symbols()[static_cast<std::size_t>(set - sets.begin())]),
                part.at);
  }

  int code = 0;
  PCRE2_SIZE offset = 0;
  const CompileContext context;
  regex.code_.reset(pcre2_compile(code_units(spelled.text), spelled.text.size(),
                                  PCRE2_MULTILINE | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP, &code,
                                  &offset, context.context.get()));
  if (regex.code_ == nullptr) {
    const std::size_t at = offset < spelled.at.size() ? spelled.at[offset] : pattern.size();
    return corruption("{} at byte {} of the pattern", reason_of(code), at);
  }
  // Where no executable memory is to be had, pcre2_match() interprets the pattern instead.
  static_cast<void>(pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE));
  return regex;
}

RegexMatches::RegexMatches(const Regex& regex, std::string_view text, RegexScratch& scratch)
    : regex_(regex),
      text_(text),
      scratch_(scratch),
      base_(scratch.n_symbols_),
      plain_(regex.code_ == nullptr || is_ascii(text)) {
  if (plain_) return;
  std::string& symbols = scratch_.symbols_;
  if (symbols.size() < base_ + text.size()) symbols.resize(2 * base_ + text.size());
  n_symbols_ = regex.alphabet_.symbols_of(text, symbols.data() + base_);
  scratch_.n_symbols_ += n_symbols_;
}

RegexMatches::~RegexMatches() {
  scratch_.n_symbols_ = base_;
  if (base_ == 0 && scratch_.symbols_.size() > kKeptSymbols) scratch_.symbols_ = std::string();
}

Result<std::optional<RegexMatch>> RegexMatches::next() {
  RegexMatch found{0, 0};
  while (true) {
    const int code = regex_.code_ == nullptr ? find_literal(found) : find_symbols(found);
    if (code == PCRE2_ERROR_NOMATCH) return std::optional<RegexMatch>();
    if (code < 0) {
      return error(StatusCode::kResourceExhausted, "pattern at byte {} of {} bytes of text: {}",
                   byte_of(from_), text_.size(), reason_of(code));
    }
    if (found.begin < found.end) break;
    const bool in_literal = regex_.code_ == nullptr && from_ < text_.size();
    from_ += in_literal ? utf8_bytes(text_[from_]) : 1;
    if (last_end_ != found.end) break;
  }
  last_end_ = found.end;
  return std::optional<RegexMatch>(found);
}

// Both leave from_ at the end of the match, and give a code of PCRE2's.
int RegexMatches::find_literal(RegexMatch& found) {
  const std::size_t begin =
      from_ > text_.size() ? std::string_view::npos : text_.find(regex_.literal_, from_);
  if (begin == std::string_view::npos) return PCRE2_ERROR_NOMATCH;
  from_ = begin + regex_.literal_.size();
  found = {begin, from_};
  return 0;
}

int RegexMatches::find_symbols(RegexMatch& found) {
  const std::string_view subject =
      plain_ ? text_ : std::string_view(scratch_.symbols_.data() + base_, n_symbols_);
  if (from_ > subject.size()) return PCRE2_ERROR_NOMATCH;
  const int code = match(subject);
  if (code < 0) return code;
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(scratch_.data_.get());
  found.begin = byte_of(ends[0]);
  from_ = ends[1];
  found.end = byte_of(from_);
  return code;
}

// Symbols are asked for in ascending order.
std::size_t RegexMatches::byte_of(std::size_t symbol) {
  if (plain_) return symbol;
  for (; passed_ < symbol; ++passed_)
    byte_ += utf8_bytes(text_[byte_]);
  return byte_;
}

// PCRE2 bounds the steps of one match, not of many: a match begins with a small limit, and only one
// that needs more is charged for the larger limit it is given.
int RegexMatches::match(std::string_view subject) const {
  for (int64_t limit = kFirstLimit;;
       limit = std::min({8 * limit, kLimitMax, scratch_.steps_left_})) {
    pcre2_set_match_limit(scratch_.context_.get(), static_cast<uint32_t>(limit));
    const int code = pcre2_match(regex_.code_.get(), code_units(subject), subject.size(), from_, 0,
                                 scratch_.data_.get(), scratch_.context_.get());
    if (code != PCRE2_ERROR_MATCHLIMIT) return code;
    scratch_.steps_left_ -= limit;
    if (scratch_.steps_left_ <= 0) return code;
  }
}

}  // namespace dsa
