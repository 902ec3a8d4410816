#include "grammar/schema_merge.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "grammar/schema_keywords.h"

namespace dsa::grammar {
namespace {

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

JsonValue strings(std::vector<std::string> texts, std::string key) {
  JsonValue out;
  out.kind = JsonKind::kArray;
  out.key = std::move(key);
  for (std::string& text : texts) {
    out.members.emplace_back();
    out.members.back().kind = JsonKind::kString;
    out.members.back().text = std::move(text);
  }
  return out;
}

// The types that both allow; an integer is a number. False when there are none.
bool narrow_types(JsonValue& a, const JsonValue& b) {
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
  a = strings(both, a.key);
  return !both.empty();
}

// The values that both list. False when there are none.
bool narrow_values(JsonValue& a, const JsonValue& b) {
  std::erase_if(a.members, [&](const JsonValue& value) {
    return std::none_of(b.members.begin(), b.members.end(), [&](const JsonValue& other) {
      return dump_json(value) == dump_json(other);
    });
  });
  return !a.members.empty();
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

JsonValue never() {
  JsonValue out;
  out.kind = JsonKind::kBool;
  out.text = "false";
  return out;
}

}  // namespace

Result<JsonValue> merge_schemas(const JsonValue& a, const JsonValue& b, const std::string& path) {
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    if (one->kind == JsonKind::kBool) return one->text == "true" ? *other : *one;
  }
  if (a.kind != JsonKind::kObject || b.kind != JsonKind::kObject) {
    return invalid_argument("{}: want schemas that are objects, true or false", path);
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
      if (!narrow_types(*known, member)) return never();
    } else if (member.key == "enum" && known->kind == JsonKind::kArray) {
      if (!narrow_values(*known, member)) return never();
    } else if (!is_annotation(member.key) && dump_json(*known) != dump_json(member)) {
      return unsupported("{}.{}: two schemas that both hold differ in it; not supported", path,
                         member.key);
    }
  }
  return out;
}

}  // namespace dsa::grammar
