#include "grammar/schema.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>
#include <vector>

#include "common/status_macros.h"

namespace dsa::grammar {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 30;

constexpr std::array<std::string_view, 10> kIgnored = {
    "title", "description", "default",    "examples", "$schema",
    "$id",   "$comment",    "deprecated", "readOnly", "writeOnly"};
constexpr std::array<std::string_view, 13> kRead = {
    "type",       "properties", "required", "additionalProperties",
    "items",      "enum",       "const",    "minItems",
    "maxItems",   "anyOf",      "$ref",     "$defs",
    "definitions"};

template <size_t n>
bool is_one_of(const std::array<std::string_view, n>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// A schema inside the document that knows where it stands.
struct Place {
  const JsonValue* value;
  std::string path;

  Place member(const JsonValue& child, std::string_view key) const {
    return {&child, fmt::format("{}.{}", path, key)};
  }
  Status wrong(std::string_view want) const {
    return invalid_argument("{}: {}, want {}", path, json_kind_name(value->kind), want);
  }
};

class SchemaReader {
 public:
  SchemaReader(const JsonValue& root, std::string_view path, RuleBuilder& builder)
      : root_(&root), root_path_(path), builder_(&builder) {}

  Result<RuleId> read(const Place& place);

 private:
  Status check_keywords(const Place& place) const;
  Result<RuleId> read_reference(const Place& place, const JsonValue& target);
  Result<RuleId> read_choices(const Place& place);
  Result<RuleId> read_values(const Place& place);
  Result<RuleId> read_types(const Place& place);
  Result<RuleId> read_type(const Place& place, std::string_view type);
  Result<RuleId> read_object(const Place& place);
  Result<std::vector<std::string>> read_required(const Place& place) const;
  Result<RuleId> read_others(const Place& place, bool lists_properties);
  Result<RuleId> read_array(const Place& place);
  Result<int64_t> read_count(const Place& place, std::string_view key, int64_t otherwise) const;
  Status refuse_beside(const Place& place, std::string_view alone) const;

  const JsonValue* root_;
  std::string root_path_;
  RuleBuilder* builder_;
  std::map<std::string, RuleId> references_;  // -1 while being read
};

// Every keyword either shapes the rule, says nothing about it, or is refused by name.
Status SchemaReader::check_keywords(const Place& place) const {
  for (const JsonValue& member : place.value->members) {
    if (is_one_of(kRead, member.key) || is_one_of(kIgnored, member.key)) continue;
    return unsupported("{}.{}: this keyword of JSON schema is not supported", place.path,
                       member.key);
  }
  return Status();
}

// $ref, enum, const and anyOf decide alone: other keywords of the same schema would be lost.
Status SchemaReader::refuse_beside(const Place& place, std::string_view alone) const {
  for (const JsonValue& member : place.value->members) {
    const bool harmless = member.key == alone || member.key == "$defs" ||
                          member.key == "definitions" || is_one_of(kIgnored, member.key);
    const bool type_of_values = member.key == "type" && (alone == "enum" || alone == "const");
    if (harmless || type_of_values) continue;
    return unsupported("{}.{}: not supported together with {}", place.path, member.key, alone);
  }
  return Status();
}

Result<RuleId> SchemaReader::read(const Place& place) {
  if (builder_->full()) {
    return unsupported("{}: the schema has more than {} rules", place.path, kMaxRules);
  }
  const JsonValue& schema = *place.value;
  if (schema.kind == JsonKind::kBool && schema.text == "true") return builder_->any();
  if (schema.kind != JsonKind::kObject) return place.wrong("an object or true");
  DSA_RETURN_IF_ERROR(check_keywords(place));
  if (const JsonValue* target = schema.find("$ref")) {
    DSA_RETURN_IF_ERROR(refuse_beside(place, "$ref"));
    return read_reference(place.member(*target, "$ref"), *target);
  }
  if (const JsonValue* choices = schema.find("anyOf")) {
    DSA_RETURN_IF_ERROR(refuse_beside(place, "anyOf"));
    return read_choices(place.member(*choices, "anyOf"));
  }
  if (const JsonValue* value = schema.find("const")) {
    DSA_RETURN_IF_ERROR(refuse_beside(place, "const"));
    return builder_->literal(dump_json(*value));
  }
  if (const JsonValue* values = schema.find("enum")) {
    DSA_RETURN_IF_ERROR(refuse_beside(place, "enum"));
    return read_values(place.member(*values, "enum"));
  }
  return read_types(place);
}

Result<RuleId> SchemaReader::read_reference(const Place& place, const JsonValue& target) {
  if (target.kind != JsonKind::kString) return place.wrong("a string");
  for (const std::string_view table : {"$defs", "definitions"}) {
    const std::string prefix = fmt::format("#/{}/", table);
    if (target.text.substr(0, prefix.size()) != prefix) continue;
    const std::string name = target.text.substr(prefix.size());
    const JsonValue* defs = root_->find(table);
    const JsonValue* found = defs == nullptr ? nullptr : defs->find(name);
    if (found == nullptr) break;
    const auto [known, added] = references_.emplace(target.text, -1);
    if (!added && known->second < 0) {
      return unsupported("{}: \"{}\" refers to itself; recursive schemas are not supported",
                         place.path, target.text);
    }
    if (!added) return known->second;
    const std::string path = fmt::format("{}.{}.{}", root_path_, table, name);
    DSA_ASSIGN_OR_RETURN(const RuleId rule, read({found, path}));
    references_[target.text] = rule;
    return rule;
  }
  return unsupported("{}: \"{}\", want #/$defs/NAME with a NAME in $defs", place.path, target.text);
}

Result<RuleId> SchemaReader::read_choices(const Place& place) {
  const JsonValue& choices = *place.value;
  if (choices.kind != JsonKind::kArray || choices.members.empty()) {
    return place.wrong("an array with at least one schema");
  }
  std::vector<RuleId> rules;
  for (size_t i = 0; i < choices.members.size(); ++i) {
    const std::string path = fmt::format("{}[{}]", place.path, i);
    DSA_ASSIGN_OR_RETURN(const RuleId rule, read({&choices.members[i], path}));
    rules.push_back(rule);
  }
  return builder_->choice(std::move(rules));
}

Result<RuleId> SchemaReader::read_values(const Place& place) {
  const JsonValue& values = *place.value;
  if (values.kind != JsonKind::kArray || values.members.empty()) {
    return place.wrong("an array with at least one value");
  }
  std::vector<RuleId> rules;
  for (const JsonValue& value : values.members) {
    if (builder_->full()) break;
    rules.push_back(builder_->literal(dump_json(value)));
  }
  return builder_->choice(std::move(rules));
}

// Without a type: an object or array where the other keywords are of one, anything otherwise.
Result<RuleId> SchemaReader::read_types(const Place& place) {
  const JsonValue& schema = *place.value;
  const JsonValue* type = schema.find("type");
  if (type == nullptr) {
    const auto has = [&](std::string_view key) { return schema.find(key) != nullptr; };
    if (has("properties") || has("required") || has("additionalProperties")) {
      return read_object(place);
    }
    return has("items") || has("minItems") || has("maxItems") ? read_array(place) : builder_->any();
  }
  const Place types = place.member(*type, "type");
  if (type->kind == JsonKind::kString) return read_type(place, type->text);
  if (type->kind != JsonKind::kArray || type->members.empty()) {
    return types.wrong("a string or an array of strings");
  }
  std::vector<RuleId> rules;
  for (const JsonValue& name : type->members) {
    if (name.kind != JsonKind::kString) return types.wrong("strings");
    DSA_ASSIGN_OR_RETURN(const RuleId rule, read_type(place, name.text));
    rules.push_back(rule);
  }
  return builder_->choice(std::move(rules));
}

Result<RuleId> SchemaReader::read_type(const Place& place, std::string_view type) {
  if (type == "object") return read_object(place);
  if (type == "array") return read_array(place);
  if (type == "string") return builder_->string();
  if (type == "number") return builder_->number();
  if (type == "integer") return builder_->integer();
  if (type == "boolean") return builder_->boolean();
  if (type == "null") return builder_->null();
  return invalid_argument(
      "{}.type: \"{}\", want object, array, string, number, integer, boolean or null", place.path,
      type);
}

Result<std::vector<std::string>> SchemaReader::read_required(const Place& place) const {
  std::vector<std::string> names;
  const JsonValue* required = place.value->find("required");
  if (required == nullptr) return names;
  const Place list = place.member(*required, "required");
  if (required->kind != JsonKind::kArray) return list.wrong("an array of strings");
  for (const JsonValue& name : required->members) {
    if (name.kind != JsonKind::kString) return list.wrong("an array of strings");
    names.push_back(name.text);
  }
  return names;
}

Result<RuleId> SchemaReader::read_others(const Place& place, bool lists_properties) {
  const JsonValue* others = place.value->find("additionalProperties");
  if (others == nullptr) return lists_properties ? RuleId{-1} : builder_->any();
  if (others->kind == JsonKind::kBool && others->text == "false") return RuleId{-1};
  return read(place.member(*others, "additionalProperties"));
}

Result<RuleId> SchemaReader::read_object(const Place& place) {
  DSA_ASSIGN_OR_RETURN(std::vector<std::string> required, read_required(place));
  std::vector<RuleBuilder::Property> properties;
  const JsonValue* listed = place.value->find("properties");
  if (listed != nullptr) {
    const Place table = place.member(*listed, "properties");
    if (listed->kind != JsonKind::kObject) return table.wrong("an object");
    for (const JsonValue& property : listed->members) {
      DSA_ASSIGN_OR_RETURN(const RuleId value, read(table.member(property, property.key)));
      const auto found = std::find(required.begin(), required.end(), property.key);
      properties.push_back({property.key, value, found != required.end()});
    }
  }
  DSA_ASSIGN_OR_RETURN(const RuleId others, read_others(place, listed != nullptr));
  for (const std::string& name : required) {
    const bool known = listed != nullptr && listed->find(name) != nullptr;
    const bool again = std::any_of(properties.begin(), properties.end(),
                                   [&](const auto& property) { return property.name == name; });
    if (known || again) continue;
    if (others < 0) {
      return invalid_argument("{}.required: \"{}\" is not among the properties", place.path, name);
    }
    properties.push_back({name, others, true});
  }
  if (builder_->full()) return unsupported("{}: more than {} rules", place.path, kMaxRules);
  return builder_->object(properties, others);
}

Result<int64_t> SchemaReader::read_count(const Place& place,
                                         std::string_view key,
                                         int64_t otherwise) const {
  const JsonValue* value = place.value->find(key);
  if (value == nullptr) return otherwise;
  int64_t number = -1;
  const char* end = value->text.data() + value->text.size();
  const auto parsed = std::from_chars(value->text.data(), end, number);
  const bool whole = value->kind == JsonKind::kNumber && parsed.ec == std::errc() &&
                     parsed.ptr == end && number >= 0 && number <= kMaxCount;
  if (whole) return number;
  return invalid_argument("{}.{}: {:.40}, want a whole number from 0 to {}", place.path, key,
                          dump_json(*value), kMaxCount);
}

Result<RuleId> SchemaReader::read_array(const Place& place) {
  RuleId item = builder_->any();
  if (const JsonValue* items = place.value->find("items")) {
    DSA_ASSIGN_OR_RETURN(item, read(place.member(*items, "items")));
  }
  DSA_ASSIGN_OR_RETURN(const int64_t least, read_count(place, "minItems", 0));
  DSA_ASSIGN_OR_RETURN(const int64_t most, read_count(place, "maxItems", -1));
  if (most >= 0 && least > most) {
    return invalid_argument("{}.minItems: {}, want at most maxItems, which is {}", place.path,
                            least, most);
  }
  return builder_->array(item, least, most);
}

}  // namespace

Result<RuleId> schema_rule(const JsonValue& schema, std::string_view path, RuleBuilder& builder) {
  return SchemaReader(schema, path, builder).read({&schema, std::string(path)});
}

}  // namespace dsa::grammar
