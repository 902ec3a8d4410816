// JSON schemas to rules.
#pragma once

#include <string>
#include <string_view>

#include "dsa/status.h"

#include "grammar/rules.h"
#include "tokenizer/python_json.h"

namespace dsa::grammar {

// The rule of a value that `schema` accepts. path: how errors name the schema's root, e.g. "$".
// Errors   as Grammar::json_schema
Result<RuleId> schema_rule(const JsonValue& schema, std::string_view path, RuleBuilder& builder);

}  // namespace dsa::grammar
