#include "grammar/scalars.h"

#include <algorithm>
#include <string>

namespace dsa::grammar {
namespace {

constexpr int32_t kMaxExponentDigits = 2;
constexpr int32_t kMaxSpaces = 32;

bool is_digit(uint8_t byte) {
  return byte >= '0' && byte <= '9';
}

bool is_hex(uint8_t byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

// What is still to come of a character; each names how many bytes, and the range of the first.
enum Utf8At : int32_t {
  kBetween = 0,
  kOne,  // one continuation byte
  kTwo,
  kTwoFromA0,  // after E0: no overlong forms
  kTwoUpTo9F,  // after ED: no surrogates
  kThree,
  kThreeFrom90,  // after F0
  kThreeUpTo8F,  // after F4
  kUtf8Positions
};

int32_t first_utf8_byte(uint8_t byte) {
  if (byte < 0x80) return kBetween;
  if (byte >= 0xC2 && byte <= 0xDF) return kOne;
  if (byte == 0xE0) return kTwoFromA0;
  if (byte == 0xED) return kTwoUpTo9F;
  if (byte >= 0xE1 && byte <= 0xEF) return kTwo;
  if (byte == 0xF0) return kThreeFrom90;
  if (byte >= 0xF1 && byte <= 0xF3) return kThree;
  return byte == 0xF4 ? int32_t{kThreeUpTo8F} : kRefused;
}

int32_t within(uint8_t byte, uint8_t low, uint8_t high, int32_t next) {
  return byte >= low && byte <= high ? next : kRefused;
}

enum StringAt : int32_t {
  kOpening = 0,
  kBody = 1,  // kBody + a UTF-8 position
  kEscape = kBody + kUtf8Positions,
  kHex1,
  kHex2,
  kHex2NoSurrogate,  // after \uD: \uD800 to \uDFFF stand for no character alone
  kHex3,
  kHex4
};

int32_t step_body(int32_t at, uint8_t byte) {
  if (at == kBody && byte == '"') return kStringDone;
  if (at == kBody && byte == '\\') return kEscape;
  if (byte < 0x20) return kRefused;
  const int32_t utf8 = step_utf8(at - kBody, byte);
  return utf8 == kRefused ? kRefused : kBody + utf8;
}

int32_t step_escape(uint8_t byte) {
  constexpr std::string_view kOneByte = "\"\\/bfnrt";
  if (byte == 'u') return kHex1;
  return kOneByte.find(static_cast<char>(byte)) == std::string_view::npos ? kRefused
                                                                          : int32_t{kBody};
}

enum NumberPosition : int32_t {
  kSign = 0,
  kFirstDigit,
  kZero,
  kWhole,
  kPoint,
  kFraction,
  kExponentSign,
  kExponentFirst,
  kExponent
};

NumberAt digit_of(NumberAt from, int32_t next, int32_t most) {
  if (from.digits >= most) return {kRefused, 0};
  return {next, from.digits + 1};
}

NumberAt after_whole(uint8_t byte, bool integer) {
  if (integer) return {kRefused, 0};
  if (byte == '.') return {kPoint, 0};
  if (byte == 'e' || byte == 'E') return {kExponentSign, 0};
  return {kRefused, 0};
}

}  // namespace

int32_t step_utf8(int32_t at, uint8_t byte) {
  switch (at) {
    case kBetween:
      return first_utf8_byte(byte);
    case kOne:
      return within(byte, 0x80, 0xBF, kBetween);
    case kTwo:
      return within(byte, 0x80, 0xBF, kOne);
    case kTwoFromA0:
      return within(byte, 0xA0, 0xBF, kOne);
    case kTwoUpTo9F:
      return within(byte, 0x80, 0x9F, kOne);
    case kThree:
      return within(byte, 0x80, 0xBF, kTwo);
    case kThreeFrom90:
      return within(byte, 0x90, 0xBF, kTwo);
    case kThreeUpTo8F:
      return within(byte, 0x80, 0x8F, kTwo);
    default:
      return kRefused;
  }
}

int32_t step_string(int32_t at, uint8_t byte) {
  switch (at) {
    case kOpening:
      return byte == '"' ? int32_t{kBody} : kRefused;
    case kEscape:
      return step_escape(byte);
    case kHex1:
      if (byte == 'd' || byte == 'D') return kHex2NoSurrogate;
      return is_hex(byte) ? int32_t{kHex2} : kRefused;
    case kHex2:
      return is_hex(byte) ? int32_t{kHex3} : kRefused;
    case kHex2NoSurrogate:
      return byte >= '0' && byte <= '7' ? int32_t{kHex3} : kRefused;
    case kHex3:
      return is_hex(byte) ? int32_t{kHex4} : kRefused;
    case kHex4:
      return is_hex(byte) ? int32_t{kBody} : kRefused;
    default:
      return step_body(at, byte);
  }
}

NumberAt step_number(NumberAt from, uint8_t byte, bool integer) {
  const bool digit = is_digit(byte);
  switch (from.at) {
    case kSign:
      if (byte == '-') return {kFirstDigit, 0};
      [[fallthrough]];
    case kFirstDigit:
      if (!digit) return {kRefused, 0};
      return {byte == '0' ? kZero : kWhole, 1};
    case kZero:
      return after_whole(byte, integer);
    case kWhole:
      return digit ? digit_of(from, kWhole, kMaxDigits) : after_whole(byte, integer);
    case kPoint:
      return digit ? NumberAt{kFraction, 1} : NumberAt{kRefused, 0};
    case kFraction:
      if (byte == 'e' || byte == 'E') return {kExponentSign, 0};
      return digit ? digit_of(from, kFraction, kMaxDigits) : NumberAt{kRefused, 0};
    case kExponentSign:
      if (byte == '+' || byte == '-') return {kExponentFirst, 0};
      [[fallthrough]];
    case kExponentFirst:
      return digit ? NumberAt{kExponent, 1} : NumberAt{kRefused, 0};
    case kExponent:
      return digit ? digit_of(from, kExponent, kMaxExponentDigits) : NumberAt{kRefused, 0};
    default:
      return {kRefused, 0};
  }
}

bool between_characters(int32_t at) {
  return at == kBody;
}

bool number_may_end(int32_t at) {
  return at == kZero || at == kWhole || at == kFraction || at == kExponent;
}

int32_t step_space(int32_t at, uint8_t byte) {
  constexpr int32_t kOneSpace = -2;
  if (at == 0 && byte == '\n') return 1;
  if (at == 0 && byte == ' ') return kOneSpace;
  return at >= 1 && at <= kMaxSpaces && byte == ' ' ? at + 1 : kRefused;
}

int32_t step_match(std::string_view word, int32_t matched, uint8_t byte) {
  std::string seen(word.substr(0, static_cast<size_t>(matched)));
  seen += static_cast<char>(byte);
  for (size_t n = std::min(seen.size(), word.size()); n > 0; --n) {
    if (std::string_view(seen).substr(seen.size() - n) == word.substr(0, n)) {
      return static_cast<int32_t>(n);
    }
  }
  return 0;
}

}  // namespace dsa::grammar
