#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "common/status_macros.h"

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

Result<Regex> Regex::compile(std::string_view pattern, bool literal) {
  const uint32_t options =
      literal ? PCRE2_LITERAL | PCRE2_UTF : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
  int code = 0;
  PCRE2_SIZE offset = 0;
  Regex regex(pcre2_compile(code_units(pattern), pattern.size(), options, &code, &offset, nullptr));
  if (regex.code_ == nullptr) {
    return corruption("{} at byte {} of the pattern", reason_of(code), offset);
  }
  // Where no executable memory is to be had, pcre2_match() interprets the pattern instead.
  static_cast<void>(pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE));
  return regex;
}

// PCRE2 bounds the steps of one match, not of many: a match begins with a small limit, and only one
// that needs more is charged for the larger limit it is given.
int Regex::match(std::string_view text, std::size_t from, RegexScratch& scratch) const {
  for (int64_t limit = kFirstLimit;;
       limit = std::min({8 * limit, kLimitMax, scratch.steps_left_})) {
    pcre2_set_match_limit(scratch.context_.get(), static_cast<uint32_t>(limit));
    const int code = pcre2_match(code_.get(), code_units(text), text.size(), from,
                                 PCRE2_NO_UTF_CHECK, scratch.data_.get(), scratch.context_.get());
    if (code != PCRE2_ERROR_MATCHLIMIT) return code;
    scratch.steps_left_ -= limit;
    if (scratch.steps_left_ <= 0) return code;
  }
}

Result<std::optional<RegexMatch>> Regex::find(std::string_view text,
                                              std::size_t from,
                                              RegexScratch& scratch) const {
  const int code = match(text, from, scratch);
  if (code == PCRE2_ERROR_NOMATCH) return std::optional<RegexMatch>();
  if (code < 0) {
    return error(StatusCode::kResourceExhausted, "pattern at byte {} of {} bytes of text: {}", from,
                 text.size(), reason_of(code));
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(scratch.data_.get());
  return std::optional<RegexMatch>({ends[0], ends[1]});
}

}  // namespace dsa
