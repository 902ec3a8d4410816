#include "grammar/schema_scalars.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "common/status_macros.h"
#include "grammar/number_range.h"
#include "grammar/string_format.h"

namespace dsa::grammar {
namespace {

// The pattern that `pattern` or `format` asks for; "" for none.
Result<std::string> read_pattern(const Place& place) {
  const JsonValue* pattern = place.value->find("pattern");
  const JsonValue* format = place.value->find("format");
  for (const JsonValue* value : {pattern, format}) {
    if (value != nullptr && value->kind != JsonKind::kString) {
      return place.member(*value, value == pattern ? "pattern" : "format").wrong("a string");
    }
  }
  std::string named = format == nullptr ? std::string() : format_pattern(format->text);
  if (pattern == nullptr || pattern->text.empty()) return named;
  if (named.empty()) return pattern->text;
  return unsupported("{}.pattern: not supported together with format \"{}\"", place.path,
                     format->text);
}

Status named(const Status& fault, const Place& place, std::string_view keyword) {
  return error(fault.code(), "{}.{}: {}", place.path, keyword, fault.message());
}

Status nothing_fits(const Place& place) {
  return invalid_argument("{}: no value can fit", place.path);
}

// Short texts are counted by the states of their automaton, so that none runs into a dead end;
// longer ones by the grammar as it goes.
Result<RuleId> pattern_rule(const Place& place,
                            std::string_view pattern,
                            Counts counts,
                            Spelling spelling,
                            RuleBuilder& builder) {
  constexpr int64_t kMostCounted = 256;
  const bool has_pattern = place.value->find("pattern") != nullptr;
  const std::string_view keyword = has_pattern ? "pattern" : "format";
  if (std::max(counts.least, counts.most) <= kMostCounted) {
    auto dfa = pattern_dfa(pattern, {counts.least, counts.most}, spelling);
    if (dfa.ok() && dfa->states.empty()) return nothing_fits(place);
    if (dfa.ok()) return builder.dfa(std::move(*dfa));
  }
  auto dfa = pattern_dfa(pattern, {}, spelling);
  if (!dfa.ok()) return named(dfa.status(), place, keyword);
  const bool fits =
      !dfa->states.empty() && (counts.most < 0 || dfa->states[0].least_more <= counts.most);
  if (!fits) return nothing_fits(place);
  return builder.dfa(std::move(*dfa), counts.least, counts.most);
}

Result<std::optional<Decimal>> read_number(const Place& place, std::string_view key) {
  const JsonValue* value = place.value->find(key);
  if (value == nullptr) return std::optional<Decimal>();
  const Place at = place.member(*value, key);
  if (value->kind != JsonKind::kNumber) return at.wrong("a number");
  auto number = read_decimal(value->text);
  if (!number.ok())
    return error(number.status().code(), "{}: {}", at.path, number.status().message());
  return std::optional<Decimal>(std::move(*number));
}

// Whether the left one is nearer to zero, or lower; both may be negative.
bool is_less(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative;
  const auto longer = a.whole.size() != b.whole.size();
  const bool less = longer               ? a.whole.size() < b.whole.size()
                    : a.whole != b.whole ? a.whole < b.whole
                                         : a.fraction < b.fraction;
  const bool equal = a.whole == b.whole && a.fraction == b.fraction;
  return !equal && (less != a.negative);
}

// The tighter of `key` and `exclusive`, which is a number of its own or, in draft 4, says that the
// other is meant so.
Result<std::optional<Bound>> read_bound(const Place& place,
                                        std::string_view key,
                                        std::string_view exclusive,
                                        bool is_least) {
  DSA_ASSIGN_OR_RETURN(std::optional<Decimal> value, read_number(place, key));
  std::optional<Bound> bound;
  if (value) bound = Bound{*value, false};
  const JsonValue* other = place.value->find(exclusive);
  if (other != nullptr && other->kind == JsonKind::kBool) {
    if (bound) bound->exclusive = other->text == "true";
    return bound;
  }
  DSA_ASSIGN_OR_RETURN(value, read_number(place, exclusive));
  if (!value) return bound;
  const bool looser =
      bound && (is_least ? is_less(*value, bound->value) : is_less(bound->value, *value));
  if (!looser) bound = Bound{*value, true};
  return bound;
}

}  // namespace

Result<RuleId> string_rule(const Place& place, RuleBuilder& builder) {
  DSA_ASSIGN_OR_RETURN(const Counts counts, read_counts(place, "minLength", "maxLength"));
  DSA_ASSIGN_OR_RETURN(const std::string pattern, read_pattern(place));
  const bool free = counts.least == 0 && counts.most < 0;
  if (pattern.empty()) return free ? builder.string() : builder.string(counts.least, counts.most);
  return pattern_rule(place, pattern, counts, Spelling::kJson, builder);
}

Result<RuleId> plain_string_rule(const Place& place, RuleBuilder& builder) {
  DSA_ASSIGN_OR_RETURN(const Counts counts, read_counts(place, "minLength", "maxLength"));
  DSA_ASSIGN_OR_RETURN(const std::string pattern, read_pattern(place));
  if (counts.least == 0 && counts.most < 0 && pattern.empty()) return RuleId{-1};
  return pattern_rule(place, pattern, counts, Spelling::kPlain, builder);
}

Result<RuleId> number_rule(const Place& place, bool integer, RuleBuilder& builder) {
  NumberRange range;
  range.integer = integer;
  DSA_ASSIGN_OR_RETURN(range.least, read_bound(place, "minimum", "exclusiveMinimum", true));
  DSA_ASSIGN_OR_RETURN(range.most, read_bound(place, "maximum", "exclusiveMaximum", false));
  DSA_ASSIGN_OR_RETURN(range.multiple_of, read_number(place, "multipleOf"));
  if (range.multiple_of && (range.multiple_of->negative || range.multiple_of->is_zero())) {
    return invalid_argument("{}.multipleOf: want a number above 0", place.path);
  }
  if (!range.least && !range.most && !range.multiple_of) {
    return integer ? builder.integer() : builder.number();
  }
  auto dfa = number_dfa(range);
  if (!dfa.ok()) return named(dfa.status(), place, "multipleOf");
  if (dfa->states.empty()) return nothing_fits(place);
  return builder.dfa(std::move(*dfa));
}

}  // namespace dsa::grammar
