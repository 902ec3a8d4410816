// The rules of strings and numbers with bounds.
#pragma once

#include "dsa/status.h"

#include "grammar/pattern.h"
#include "grammar/rules.h"
#include "grammar/schema_place.h"

namespace dsa::grammar {

// place: a schema of type string. Read: minLength, maxLength, pattern, format.
Result<RuleId> string_rule(const Place& place, RuleBuilder& builder);

// The same without quotes and escapes, up to what follows it in the grammar.
// The rule is -1 where the schema says nothing about the text.
Result<RuleId> plain_string_rule(const Place& place, RuleBuilder& builder);

// place: a schema of type number or integer. Read: minimum, maximum, both exclusive ones (numbers,
// or draft 4's booleans), multipleOf.
Result<RuleId> number_rule(const Place& place, bool integer, RuleBuilder& builder);

}  // namespace dsa::grammar
