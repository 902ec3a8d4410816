#include "grammar/schema_merge.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "common/status_macros.h"

namespace dsa::grammar {
namespace {

constexpr std::array<std::string_view, 18> kAnnotations = {
    "title", "description", "default",       "examples",   "example",          "$schema",
    "$id",   "id",          "$comment",      "deprecated", "readOnly",         "writeOnly",
    "$defs", "definitions", "discriminator", "$anchor",    "contentMediaType", "contentEncoding"};

JsonValue* member_of(JsonValue& object, std::string_view key) {
  const auto found = std::find_if(object.members.begin(), object.members.end(),
                                  [&](const JsonValue& member) { return member.key == key; });
  return found == object.members.end() ? nullptr : &*found;
}

std::vector<std::string> type_names(const JsonValue& type) {
  if (type.kind == JsonKind::kString) return {type.text};
  std::vector<std::string> out;
  for (const JsonValue& name : type.members)
    out.push_back(name.text);
  return out;
}

// The types that both allow; an integer is a number.
Status narrow_types(JsonValue& a, const JsonValue& b, const std::string& path) {
  std::vector<std::string> both;
  const std::vector<std::string> others = type_names(b);
  const auto allowed = [&](std::string_view name) {
    return std::find(others.begin(), others.end(), name) != others.end();
  };
  for (const std::string& name : type_names(a)) {
    if (allowed(name) || (name == "integer" && allowed("number")))
      both.push_back(name);
    else if (name == "number" && allowed("integer"))
      both.emplace_back("integer");
  }
  if (both.empty()) return invalid_argument("{}.type: no value has both types", path);
  a.kind = JsonKind::kArray;
  a.text.clear();
  a.members.clear();
  for (std::string& name : both) {
    JsonValue value;
    value.kind = JsonKind::kString;
    value.text = std::move(name);
    a.members.push_back(std::move(value));
  }
  return Status();
}

void join_names(JsonValue& a, const JsonValue& b) {
  for (const JsonValue& name : b.members) {
    const bool known = std::any_of(a.members.begin(), a.members.end(),
                                   [&](const JsonValue& one) { return one.text == name.text; });
    if (!known) a.members.push_back(name);
  }
}

Status unite_properties(JsonValue& a, const JsonValue& b, const std::string& path) {
  for (const JsonValue& property : b.members) {
    JsonValue* known = member_of(a, property.key);
    if (known == nullptr) {
      a.members.push_back(property);
      continue;
    }
    std::string key = known->key;
    DSA_ASSIGN_OR_RETURN(*known, merge_schemas(*known, property, path + "." + key));
    known->key = std::move(key);
  }
  return Status();
}

// An object that allows no others must already list what the other schema lists.
Status check_closed(const JsonValue& closed, const JsonValue& other, const std::string& path) {
  const JsonValue* others = closed.find("additionalProperties");
  const bool open =
      others == nullptr || (others->kind == JsonKind::kBool && others->text == "true");
  const JsonValue* listed = closed.find("properties");
  const JsonValue* more = other.find("properties");
  if (open || more == nullptr) return Status();
  for (const JsonValue& property : more->members) {
    if (listed != nullptr && listed->find(property.key) != nullptr) continue;
    return unsupported("{}.additionalProperties: not supported beside a schema that lists \"{}\"",
                       path, property.key);
  }
  return Status();
}

}  // namespace

bool is_annotation(std::string_view keyword) {
  return keyword.substr(0, 2) == "x-" ||
         std::find(kAnnotations.begin(), kAnnotations.end(), keyword) != kAnnotations.end();
}

Result<JsonValue> merge_schemas(const JsonValue& a, const JsonValue& b, const std::string& path) {
  if (b.kind == JsonKind::kBool && b.text == "true") return a;
  if (a.kind == JsonKind::kBool && a.text == "true") return b;
  if (a.kind != JsonKind::kObject || b.kind != JsonKind::kObject) {
    return invalid_argument("{}: want schemas that are objects or true", path);
  }
  DSA_RETURN_IF_ERROR(check_closed(a, b, path));
  DSA_RETURN_IF_ERROR(check_closed(b, a, path));
  JsonValue out = a;
  for (const JsonValue& member : b.members) {
    JsonValue* known = member_of(out, member.key);
    if (known == nullptr) {
      out.members.push_back(member);
    } else if (member.key == "properties" && known->kind == JsonKind::kObject) {
      DSA_RETURN_IF_ERROR(unite_properties(*known, member, path + ".properties"));
    } else if (member.key == "required" && known->kind == JsonKind::kArray) {
      join_names(*known, member);
    } else if (member.key == "type") {
      DSA_RETURN_IF_ERROR(narrow_types(*known, member, path));
    } else if (!is_annotation(member.key) && dump_json(*known) != dump_json(member)) {
      return unsupported("{}.{}: two schemas that both hold differ in it; not supported", path,
                         member.key);
    }
  }
  return out;
}

}  // namespace dsa::grammar
