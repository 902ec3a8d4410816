// JSON numbers within bounds, and multiples.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dsa/status.h"

#include "grammar/dfa.h"

namespace dsa::grammar {

// A number as it is written out, without an exponent: digits before and after the point.
struct Decimal {
  bool negative = false;
  std::string whole;     // no leading zeros: "" is zero
  std::string fraction;  // no trailing zeros

  bool is_zero() const { return whole.empty() && fraction.empty(); }
};

// text: a JSON number. Errors  kUnsupported: more than 400 digits when written out
Result<Decimal> read_decimal(std::string_view text);

struct Bound {
  Decimal value;
  bool exclusive = false;
};

struct NumberRange {
  std::optional<Bound> least, most;
  std::optional<Decimal> multiple_of;  // positive
  bool integer = false;
};

// The numbers of the range as JSON writes them, without exponents, with at most kMaxDigits digits
// on either side of the point. An empty automaton: there are none.
// Errors   kUnsupported: a divisor of more digits than an automaton can hold
Result<Dfa> number_dfa(const NumberRange& range);

}  // namespace dsa::grammar
