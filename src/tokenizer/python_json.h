// JSON that comes out as Python's json.loads followed by json.dumps(..., ensure_ascii=False) gives
// it: the prompts of the chat encoding hold JSON in exactly that spelling.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

namespace dsa {

enum class JsonKind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

struct JsonValue {
  JsonKind kind = JsonKind::kNull;
  std::string text;  // string: what it says; null, bool and number: as dumped
  std::string key;   // of a member of an object
  std::vector<JsonValue> members;

  const JsonValue* find(std::string_view name) const;  // null when absent
  bool empty() const;  // what Python takes for false: null, false, 0, "", [], {}
};

// A key given twice keeps its first place and its last value.
// Errors   kInvalidArgument: not JSON, a number past the range of a double, or nested deeper than
//          128 levels
Result<JsonValue> parse_json(std::string_view text);

// Whether it is JSON or more text could make it so.
bool begins_json(std::string_view text);

std::string dump_json(const JsonValue& value);
std::string dump_json_string(std::string_view text);

const char* json_kind_name(JsonKind kind);  // e.g. "an array"

}  // namespace dsa
