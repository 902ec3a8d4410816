#include "tokenizer/parameter_types.h"

#include <optional>

namespace dsa::chat {
namespace {

std::optional<JsonKind> kind_named(std::string_view type) {
  if (type == "string") return JsonKind::kString;
  if (type == "integer" || type == "number") return JsonKind::kNumber;
  if (type == "boolean") return JsonKind::kBool;
  if (type == "null") return JsonKind::kNull;
  if (type == "array") return JsonKind::kArray;
  if (type == "object") return JsonKind::kObject;
  return std::nullopt;
}

JsonKinds kinds_of(const JsonValue& schema);

// Nothing is known when nothing is known of one of them.
JsonKinds kinds_of_any(const JsonValue& schemas) {
  JsonKinds out;
  for (const JsonValue& schema : schemas.members) {
    const JsonKinds one = kinds_of(schema);
    if (!one.known()) return {};
    out.add(one);
  }
  return out;
}

JsonKinds kinds_of(const JsonValue& schema) {
  JsonKinds out;
  if (const JsonValue* type = schema.find("type")) {
    if (const auto kind = kind_named(type->text)) out.add(*kind);
    for (const JsonValue& one : type->members) {
      if (const auto kind = kind_named(one.text)) out.add(*kind);
    }
    return out;
  }
  if (const JsonValue* values = schema.find("enum")) {
    for (const JsonValue& value : values->members)
      out.add(value.kind);
    return out;
  }
  if (const JsonValue* value = schema.find("const")) out.add(value->kind);
  for (const std::string_view any : {"anyOf", "oneOf"}) {
    if (const JsonValue* schemas = schema.find(any)) return kinds_of_any(*schemas);
  }
  return out;
}

// The kind of JSON that begins so.
std::optional<JsonKind> kind_begun(char first) {
  if (first == '{') return JsonKind::kObject;
  if (first == '[') return JsonKind::kArray;
  if (first == '"') return JsonKind::kString;
  if (first == '-' || (first >= '0' && first <= '9')) return JsonKind::kNumber;
  if (first == 't' || first == 'f') return JsonKind::kBool;
  if (first == 'n') return JsonKind::kNull;
  return std::nullopt;
}

// JSON of another kind than a parameter that takes text may have is that text.
bool is_kind_of_text(JsonKind kind, JsonKinds kinds) {
  return kinds.has(JsonKind::kString) && !kinds.has(kind);
}

}  // namespace

ParameterTypes::ParameterTypes(std::string_view tools) {
  if (tools.empty()) return;
  const auto list = parse_json(tools);
  if (!list.ok()) return;
  for (const JsonValue& tool : list->members) {
    const JsonValue* function = tool.find("function");
    const JsonValue* name = function ? function->find("name") : nullptr;
    const JsonValue* schema = function ? function->find("parameters") : nullptr;
    const JsonValue* properties = schema ? schema->find("properties") : nullptr;
    if (name == nullptr || properties == nullptr) continue;
    for (const JsonValue& property : properties->members)
      functions_[name->text][property.key] = kinds_of(property);
  }
}

JsonKinds ParameterTypes::find(const std::string& function, const std::string& parameter) const {
  const auto parameters = functions_.find(function);
  if (parameters == functions_.end()) return {};
  const auto found = parameters->second.find(parameter);
  return found == parameters->second.end() ? JsonKinds() : found->second;
}

std::string argument_json(std::string_view value, bool text, JsonKinds kinds) {
  if (text) return dump_json_string(value);
  const auto json = parse_json(value);
  const bool is_json = json.ok() && !is_kind_of_text(json->kind, kinds);
  return is_json ? std::string(value) : dump_json_string(value);
}

bool is_text(char first, JsonKinds kinds) {
  const auto kind = kind_begun(first);
  return !kind || is_kind_of_text(*kind, kinds);
}

}  // namespace dsa::chat
