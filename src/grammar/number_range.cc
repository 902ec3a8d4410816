#include "grammar/number_range.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>
#include <utility>

#include "common/status_macros.h"
#include "grammar/scalars.h"

namespace dsa::grammar {
namespace {

constexpr int64_t kMaxWritten = 400;  // digits of a bound; a double has up to 309 before the point
constexpr int64_t kMaxDivisor = 1000;
constexpr size_t kMaxNumberStates = 1U << 16U;

// Absolute values between two bounds.
struct Magnitudes {
  Bound least;
  std::optional<Bound> most;
  bool none = false;
};

Magnitudes magnitudes_of(const NumberRange& range, bool negative) {
  const std::optional<Bound>& near = negative ? range.most : range.least;
  const std::optional<Bound>& far = negative ? range.least : range.most;
  Magnitudes out;
  out.least.exclusive = negative;  // no -0
  if (near && near->value.negative == negative && !near->value.is_zero()) out.least = *near;
  if (near && near->value.is_zero()) out.least.exclusive = negative || near->exclusive;
  if (!far) return out;
  out.none = far->value.negative != negative && !(far->value.is_zero() && !negative);
  out.most = far;
  return out;
}

// How the digits read so far compare with the beginning of a bound as long as they are.
enum class Order : uint8_t { kLess, kEqual, kGreater };

// Where in a number: its sign, how many digits of the part being read, and what they say.
struct At {
  enum Part : uint8_t { kStart, kMinus, kWhole, kPoint, kFraction };
  Part part = kStart;
  bool negative = false;
  bool zero = false;  // the whole part is "0"
  int32_t digits = 0;
  Order to_least = Order::kEqual, to_most = Order::kEqual;
  int64_t remainder = 0;

  auto key() const {
    return std::tuple(part, negative, zero, digits, to_least, to_most, remainder);
  }
  bool operator<(const At& other) const { return key() < other.key(); }
};

class NumberBuilder {
 public:
  explicit NumberBuilder(const NumberRange& range) : range_(&range) {
    for (const bool negative : {false, true})
      sides_[negative ? 1 : 0] = magnitudes_of(range, negative);
  }

  Result<Dfa> build();

 private:
  Status read_divisor();
  const Magnitudes& side(const At& at) const { return sides_[at.negative ? 1 : 0]; }
  std::optional<At> step(const At& at, char byte) const;
  std::optional<At> first_digit(At at, char byte) const;
  std::optional<At> next_digit(At at, char byte) const;
  void take_digit(At& at, char byte) const;
  bool ends(const At& at) const;
  int32_t state_of(const At& at);

  const NumberRange* range_;
  Magnitudes sides_[2];
  int64_t divisor_ = 1;  // of the number times 10^scale_
  int32_t scale_ = 0;    // digits after the point that a multiple may have
  Dfa dfa_;
  std::map<At, int32_t> ids_;
  std::vector<At> places_;
};

Order compared(Order so_far, char digit, char bound) {
  if (so_far != Order::kEqual || digit == bound) return so_far;
  return digit < bound ? Order::kLess : Order::kGreater;
}

// Against the bound's digit of the same place; one past its end is greater, or a further zero.
Order order_after(Order so_far, const Decimal& bound, const At& at, char digit) {
  const auto i = static_cast<size_t>(at.digits);
  if (at.part == At::kFraction) {
    return compared(so_far, digit, i < bound.fraction.size() ? bound.fraction[i] : '0');
  }
  if (at.zero) return so_far;
  return i < bound.whole.size() ? compared(so_far, digit, bound.whole[i]) : Order::kGreater;
}

// Once the whole part has ended: fewer digits make it less.
Order order_of_whole(Order so_far, const Decimal& bound, const At& at) {
  const size_t digits = at.zero ? 0 : static_cast<size_t>(at.digits);
  return digits < bound.whole.size() ? Order::kLess : so_far;
}

// Once the number has ended: the bound may have more digits, and none of them is a trailing zero.
Order order_of_all(Order so_far, const Decimal& bound, const At& at) {
  const bool whole = at.part == At::kWhole;
  const Order order = whole ? order_of_whole(so_far, bound, at) : so_far;
  const size_t digits = whole ? 0 : static_cast<size_t>(at.digits);
  return order == Order::kEqual && digits < bound.fraction.size() ? Order::kLess : order;
}

Status NumberBuilder::read_divisor() {
  scale_ = range_->integer ? 0 : kMaxDigits;
  if (!range_->multiple_of) return Status();
  const Decimal& divisor = *range_->multiple_of;
  const std::string digits = divisor.whole + divisor.fraction;
  const auto scale = static_cast<int64_t>(divisor.fraction.size());
  int64_t value = kMaxDivisor + 1;
  if (digits.size() <= kMaxDigits) {
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
  }
  if (value > kMaxDivisor || scale > kMaxDigits) {
    return unsupported("its digits are {}, want at most {}", digits, kMaxDivisor);
  }
  divisor_ = value;
  scale_ = static_cast<int32_t>(scale);
  return Status();
}

void NumberBuilder::take_digit(At& at, char byte) const {
  const Magnitudes& bounds = side(at);
  at.to_least = order_after(at.to_least, bounds.least.value, at, byte);
  if (bounds.most) at.to_most = order_after(at.to_most, bounds.most->value, at, byte);
  at.remainder = (at.remainder * 10 + (byte - '0')) % divisor_;
  ++at.digits;
}

std::optional<At> NumberBuilder::first_digit(At at, char byte) const {
  if (side(at).none) return std::nullopt;
  at.part = At::kWhole;
  at.zero = byte == '0';
  take_digit(at, byte);
  return at;
}

std::optional<At> NumberBuilder::next_digit(At at, char byte) const {
  const bool fraction = at.part != At::kWhole;
  const int32_t most = fraction && !range_->integer ? scale_ : kMaxDigits;
  if (at.digits >= most || (!fraction && at.zero)) return std::nullopt;
  if (fraction) at.part = At::kFraction;
  take_digit(at, byte);
  return at;
}

std::optional<At> NumberBuilder::step(const At& at, char byte) const {
  if (byte == '-') {
    if (at.part != At::kStart) return std::nullopt;
    At next;
    next.part = At::kMinus;
    next.negative = true;
    return next;
  }
  if (byte == '.') {
    if (at.part != At::kWhole || range_->integer || scale_ == 0) return std::nullopt;
    At next = at;
    next.part = At::kPoint;
    next.to_least = order_of_whole(at.to_least, side(at).least.value, at);
    if (side(at).most) next.to_most = order_of_whole(at.to_most, side(at).most->value, at);
    next.digits = 0;
    next.zero = false;
    return next;
  }
  const bool first = at.part == At::kStart || at.part == At::kMinus;
  return first ? first_digit(at, byte) : next_digit(at, byte);
}

bool NumberBuilder::ends(const At& at) const {
  if (at.part != At::kWhole && at.part != At::kFraction) return false;
  const Magnitudes& bounds = side(at);
  const Order least = order_of_all(at.to_least, bounds.least.value, at);
  if (least == Order::kLess || (least == Order::kEqual && bounds.least.exclusive)) return false;
  if (bounds.most) {
    const Order most = order_of_all(at.to_most, bounds.most->value, at);
    if (most == Order::kGreater || (most == Order::kEqual && bounds.most->exclusive)) return false;
  }
  int64_t remainder = at.remainder;  // as if zeros filled the digits that a multiple has
  if (divisor_ == 1) return true;
  for (int32_t i = at.part == At::kWhole ? 0 : at.digits; i < scale_; ++i)
    remainder = remainder * 10 % divisor_;
  return remainder == 0;
}

int32_t NumberBuilder::state_of(const At& at) {
  const auto [found, added] = ids_.emplace(at, static_cast<int32_t>(places_.size()));
  if (added) {
    places_.push_back(at);
    dfa_.states.push_back({{}, ends(at), 0});
  }
  return found->second;
}

Result<Dfa> NumberBuilder::build() {
  DSA_RETURN_IF_ERROR(read_divisor());
  state_of(At());
  for (size_t i = 0; i < places_.size(); ++i) {
    if (places_.size() > kMaxNumberStates) return unsupported("too large together with the bounds");
    for (const char byte : std::string_view("-.0123456789")) {
      const std::optional<At> next = step(places_[i], byte);
      if (!next) continue;
      const int32_t to = state_of(*next);
      dfa_.states[i].edges.push_back(
          {static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), to, false});
    }
  }
  if (!drop_dead_ends(dfa_.states)) return Dfa();
  return std::move(dfa_);
}

}  // namespace

Result<Decimal> read_decimal(std::string_view text) {
  Decimal out;
  out.negative = !text.empty() && text[0] == '-';
  if (out.negative) text.remove_prefix(1);
  const size_t e = text.find_first_of("eE");
  int64_t exponent = 0;
  if (e != std::string_view::npos) {
    const size_t plus = text[e + 1] == '+' ? 1 : 0;
    const auto read =
        std::from_chars(text.data() + e + 1 + plus, text.data() + text.size(), exponent);
    if (read.ec != std::errc()) exponent = kMaxWritten + 1;
    text = text.substr(0, e);
  }
  const size_t point = std::min(text.find('.'), text.size());
  std::string digits(text.substr(0, point));
  if (point < text.size()) digits += text.substr(point + 1);
  int64_t n_whole = static_cast<int64_t>(point) + exponent;
  const bool short_enough = static_cast<int64_t>(digits.size()) <= kMaxWritten &&
                            n_whole <= kMaxWritten && n_whole >= -kMaxWritten;
  if (!short_enough) return unsupported("{:.40}, want at most {} digits", text, kMaxWritten);
  if (n_whole < 0) digits.insert(0, static_cast<size_t>(-std::exchange(n_whole, 0)), '0');
  const auto whole = static_cast<size_t>(n_whole);
  if (digits.size() < whole) digits.resize(whole, '0');
  out.whole = digits.substr(0, whole);
  out.fraction = digits.substr(whole);
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  out.fraction.resize(out.fraction.find_last_not_of('0') + 1);  // npos + 1 is 0
  if (out.is_zero()) out.negative = false;
  return out;
}

Result<Dfa> number_dfa(const NumberRange& range) {
  return NumberBuilder(range).build();
}

}  // namespace dsa::grammar
