// Two schemas that both hold, as one.
#pragma once

#include <string>
#include <string_view>

#include "dsa/status.h"

#include "tokenizer/python_json.h"

namespace dsa::grammar {

// `properties` are united, `required` joined, `type` narrowed; every other keyword must stand in
// one of them, or be the same in both. Errors   kUnsupported: names the keyword. path: of the
// schema, for errors
Result<JsonValue> merge_schemas(const JsonValue& a, const JsonValue& b, const std::string& path);

}  // namespace dsa::grammar
