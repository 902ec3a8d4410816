#include "grammar/schema.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "grammar/pattern.h"
#include "grammar/schema_keywords.h"
#include "grammar/schema_merge.h"
#include "grammar/schema_place.h"
#include "grammar/schema_scalars.h"
#include "grammar/string_format.h"

namespace dsa::grammar {
namespace {

constexpr int32_t kMaxNesting = 200;  // of schemas that are read while one is read

bool is_true(const JsonValue* value) {
  return value != nullptr && value->kind == JsonKind::kBool && value->text == "true";
}

bool is_false(const JsonValue* value) {
  return value != nullptr && value->kind == JsonKind::kBool && value->text == "false";
}

class SchemaReader {
 public:
  SchemaReader(const JsonValue& root, std::string_view path, RuleBuilder& builder)
      : root_(&root), root_path_(path), builder_(&builder) {}

  Result<RuleId> read(const Place& place);

 private:
  Status check_keywords(const Place& place) const;
  Status refuse_beside(const Place& place, std::string_view alone) const;
  Result<RuleId> read_object_or_true(const Place& place);
  Result<Place> resolve(const Place& place, std::string_view target) const;
  Result<RuleId> read_reference(const Place& place);
  Result<JsonValue> resolved(const Place& place) const;
  Result<RuleId> read_all(const Place& place);
  Result<RuleId> read_choices(const Place& place, std::string_view key);
  Result<RuleId> read_values(const Place& place);
  Result<RuleId> read_types(const Place& place);
  Result<RuleId> read_type(const Place& place, std::string_view type);
  Result<RuleId> read_object(const Place& place);
  Result<std::vector<std::string>> read_required(const Place& place) const;
  Result<RuleId> read_others(const Place& place, bool lists_properties);
  Result<RuleId> read_name(const Place& place);
  Status read_unlisted(const Place& place, RuleBuilder::Object& object);
  Status read_properties(const Place& place, RuleBuilder::Object& object);
  Result<RuleId> read_array(const Place& place);
  Result<RuleId> read_set(const Place& place, Counts counts);
  Result<RuleId> read_other_items(const Place& place, bool lists_items);

  const JsonValue* root_;
  std::string root_path_;
  RuleBuilder* builder_;
  std::map<std::string, RuleId> references_;  // by their target; declared before they are read
  int32_t nesting_ = 0;
};

Status SchemaReader::check_keywords(const Place& place) const {
  for (const JsonValue& member : place.value->members) {
    if (kind_of_keyword(member.key) != KeywordKind::kRefused) continue;
    return unsupported("{}.{}: this keyword of JSON schema is not supported", place.path,
                       member.key);
  }
  return Status();
}

// enum and const decide alone: other keywords of the same schema would be lost.
Status SchemaReader::refuse_beside(const Place& place, std::string_view alone) const {
  for (const JsonValue& member : place.value->members) {
    if (member.key == alone || member.key == "type" || is_annotation(member.key)) continue;
    if (member.key == "nullable") continue;
    return unsupported("{}.{}: not supported together with {}", place.path, member.key, alone);
  }
  return Status();
}

Result<RuleId> SchemaReader::read(const Place& place) {
  if (builder_->full()) {
    return unsupported("{}: the schema has more than {} rules", place.path, kMaxRules);
  }
  if (nesting_ >= kMaxNesting) return unsupported("{}: nested too deep", place.path);
  ++nesting_;
  Result<RuleId> rule = read_object_or_true(place);
  --nesting_;
  if (rule.ok() && is_true(place.value->find("nullable"))) {
    return builder_->choice({*rule, builder_->null()});
  }
  return rule;
}

Result<RuleId> SchemaReader::read_object_or_true(const Place& place) {
  const JsonValue& schema = *place.value;
  if (is_true(&schema)) return builder_->any();
  if (schema.kind != JsonKind::kObject) return place.wrong("an object or true");
  DSA_RETURN_IF_ERROR(check_keywords(place));
  const bool beside_reference =
      std::any_of(schema.members.begin(), schema.members.end(), [](const JsonValue& member) {
        return member.key != "$ref" && member.key != "nullable" && !is_annotation(member.key);
      });
  const bool refers = schema.find("$ref") != nullptr;
  if (refers && !beside_reference) return read_reference(place);
  if (refers || schema.find("allOf") != nullptr) return read_all(place);
  for (const std::string_view key : {"anyOf", "oneOf"}) {
    if (schema.find(key) != nullptr) return read_choices(place, key);
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

// Follows a JSON pointer from the root (RFC 6901): "#", "#/$defs/NAME", "#/properties/a/items".
Result<Place> SchemaReader::resolve(const Place& place, std::string_view target) const {
  const auto missing = [&] {
    return unsupported("{}: \"{}\", want # or #/... to a schema of this document", place.path,
                       target);
  };
  if (target.empty() || target[0] != '#') return missing();
  Place at = {root_, root_path_};
  std::string_view rest = target.substr(1);
  while (!rest.empty()) {
    if (rest[0] != '/') return missing();
    const size_t end = std::min(rest.find('/', 1), rest.size());
    std::string name(rest.substr(1, end - 1));
    rest.remove_prefix(end);
    for (const auto& [code, text] : {std::pair("~1", "/"), std::pair("~0", "~")}) {
      for (size_t i = name.find(code); i != std::string::npos; i = name.find(code, i + 1))
        name.replace(i, 2, text);
    }
    const JsonValue* next = at.value->kind == JsonKind::kObject ? at.value->find(name) : nullptr;
    size_t index = 0;
    const auto number = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool item = at.value->kind == JsonKind::kArray && number.ec == std::errc() &&
                      number.ptr == name.data() + name.size() && index < at.value->members.size();
    if (item) next = &at.value->members[index];
    if (next == nullptr) return missing();
    at = at.member(*next, name);
  }
  return at;
}

// A schema is declared before it is read, so that it may refer to itself.
Result<RuleId> SchemaReader::read_reference(const Place& place) {
  const Place reference = place.member(*place.value->find("$ref"), "$ref");
  if (reference.value->kind != JsonKind::kString) return reference.wrong("a string");
  const std::string& target = reference.value->text;
  const auto [known, added] = references_.emplace(target, -1);
  if (!added) return known->second;
  known->second = builder_->declare();
  const RuleId declared = known->second;
  DSA_ASSIGN_OR_RETURN(const Place found, resolve(reference, target));
  DSA_ASSIGN_OR_RETURN(const RuleId rule, read(found));
  builder_->define(declared, rule);
  return declared;
}

// The schema with what it refers to in place of the reference, and its allOf merged.
Result<JsonValue> SchemaReader::resolved(const Place& place) const {
  JsonValue out = *place.value;
  for (int32_t i = 0; i < kMaxNesting; ++i) {
    const auto found = std::find_if(out.members.begin(), out.members.end(), [](const auto& member) {
      return member.key == "$ref" || member.key == "allOf";
    });
    if (found == out.members.end()) return out;
    const JsonValue member = *found;
    out.members.erase(found);
    const Place at = place.member(member, member.key);
    if (member.key == "$ref") {
      if (member.kind != JsonKind::kString) return at.wrong("a string");
      DSA_ASSIGN_OR_RETURN(const Place target, resolve(at, member.text));
      DSA_ASSIGN_OR_RETURN(out, merge_schemas(out, *target.value, place.path));
      continue;
    }
    if (member.kind != JsonKind::kArray || member.members.empty()) {
      return at.wrong("an array with at least one schema");
    }
    for (const JsonValue& part : member.members) {
      DSA_ASSIGN_OR_RETURN(const JsonValue whole, resolved({&part, at.path}));
      DSA_ASSIGN_OR_RETURN(out, merge_schemas(out, whole, place.path));
    }
  }
  return unsupported("{}: refers to itself beside other keywords", place.path);
}

Result<RuleId> SchemaReader::read_all(const Place& place) {
  DSA_ASSIGN_OR_RETURN(JsonValue merged, resolved(place));
  std::erase_if(merged.members, [](const JsonValue& member) { return member.key == "nullable"; });
  return read({&merged, place.path});
}

// One of several schemas; what stands beside them holds for each. `oneOf` is read like `anyOf`:
// that no second one fits cannot be seen while the text is written.
Result<RuleId> SchemaReader::read_choices(const Place& place, std::string_view key) {
  const JsonValue& choices = *place.value->find(key);
  const Place list = place.member(choices, key);
  if (choices.kind != JsonKind::kArray || choices.members.empty()) {
    return list.wrong("an array with at least one schema");
  }
  JsonValue beside = *place.value;
  std::erase_if(beside.members, [&](const JsonValue& member) {
    return member.key == key || member.key == "nullable" || is_annotation(member.key);
  });
  std::vector<RuleId> rules;
  for (size_t i = 0; i < choices.members.size(); ++i) {
    const Place choice = {&choices.members[i], fmt::format("{}[{}]", list.path, i)};
    if (is_false(choice.value)) continue;
    JsonValue merged = *choice.value;
    if (!beside.members.empty()) {
      DSA_ASSIGN_OR_RETURN(merged, resolved(choice));
      DSA_ASSIGN_OR_RETURN(merged, merge_schemas(merged, beside, choice.path));
    }
    if (is_false(&merged)) continue;
    DSA_ASSIGN_OR_RETURN(const RuleId rule, read({&merged, choice.path}));
    rules.push_back(rule);
  }
  if (rules.empty()) return invalid_argument("{}: no value can fit", list.path);
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

// The type that a schema's keywords are about, where it names none.
std::string_view implied_type(const JsonValue& schema) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 20> kTypes = {{
      {"properties", "object"},
      {"required", "object"},
      {"additionalProperties", "object"},
      {"propertyNames", "object"},
      {"patternProperties", "object"},
      {"minProperties", "object"},
      {"maxProperties", "object"},
      {"items", "array"},
      {"prefixItems", "array"},
      {"minItems", "array"},
      {"maxItems", "array"},
      {"uniqueItems", "array"},
      {"minLength", "string"},
      {"maxLength", "string"},
      {"pattern", "string"},
      {"minimum", "number"},
      {"maximum", "number"},
      {"multipleOf", "number"},
      {"exclusiveMinimum", "number"},
      {"exclusiveMaximum", "number"},
  }};
  for (const auto& [keyword, type] : kTypes) {
    if (schema.find(keyword) != nullptr) return type;
  }
  const JsonValue* format = schema.find("format");  // of numbers, some say nothing
  if (format != nullptr && !format_pattern(format->text).empty()) return "string";
  return {};
}

Result<RuleId> SchemaReader::read_types(const Place& place) {
  const JsonValue* type = place.value->find("type");
  if (type == nullptr) {
    const std::string_view implied = implied_type(*place.value);
    return implied.empty() ? builder_->any() : read_type(place, implied);
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
  if (type == "string") return string_rule(place, *builder_);
  if (type == "number") return number_rule(place, false, *builder_);
  if (type == "integer") return number_rule(place, true, *builder_);
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
  if (is_false(others)) return RuleId{-1};
  return read(place.member(*others, "additionalProperties"));
}

// The rule of the names of members that are not listed; -1: any.
Result<RuleId> SchemaReader::read_name(const Place& place) {
  const JsonValue* names = place.value->find("propertyNames");
  if (names == nullptr) return RuleId{-1};
  if (place.value->find("properties") != nullptr) {
    return unsupported("{}.propertyNames: not supported together with properties", place.path);
  }
  JsonValue schema = *names;
  const bool typed = schema.find("type") != nullptr || schema.find("$ref") != nullptr;
  if (schema.kind == JsonKind::kObject && !typed) {
    JsonValue type;
    type.kind = JsonKind::kString;
    type.key = "type";
    type.text = "string";
    schema.members.push_back(std::move(type));
  }
  return read({&schema, place.path + ".propertyNames"});
}

// The members that are not listed: their names and values.
Status SchemaReader::read_unlisted(const Place& place, RuleBuilder::Object& object) {
  const JsonValue* patterns = place.value->find("patternProperties");
  const bool lists = place.value->find("properties") != nullptr || patterns != nullptr;
  DSA_ASSIGN_OR_RETURN(object.others, read_others(place, lists));
  DSA_ASSIGN_OR_RETURN(object.other_name, read_name(place));
  if (patterns == nullptr || patterns->members.empty()) return Status();
  const Place table = place.member(*patterns, "patternProperties");
  if (patterns->kind != JsonKind::kObject) return table.wrong("an object");
  if (patterns->members.size() > 1 || object.other_name >= 0) {
    return unsupported("{}: supported with one pattern, without propertyNames", table.path);
  }
  const JsonValue& schema = patterns->members[0];
  const Place at = table.member(schema, schema.key);
  if (is_false(&schema)) return unsupported("{}: false is not supported", at.path);
  DSA_ASSIGN_OR_RETURN(object.others, read(at));
  auto names = pattern_dfa(schema.key, {}, Spelling::kJson);
  if (!names.ok()) return error(names.status().code(), "{}: {}", at.path, names.status().message());
  for (const RuleBuilder::Property& property : object.properties) {
    if (!names->accepts(dump_json_string(property.name))) continue;
    return unsupported("{}: not supported where it fits a listed property, \"{}\"", at.path,
                       property.name);
  }
  object.other_name = builder_->dfa(std::move(*names));
  return Status();
}

Status SchemaReader::read_properties(const Place& place, RuleBuilder::Object& object) {
  DSA_ASSIGN_OR_RETURN(std::vector<std::string> required, read_required(place));
  const JsonValue* listed = place.value->find("properties");
  const auto is_required = [&](std::string_view name) {
    return std::find(required.begin(), required.end(), name) != required.end();
  };
  if (listed != nullptr) {
    const Place table = place.member(*listed, "properties");
    if (listed->kind != JsonKind::kObject) return table.wrong("an object");
    for (const JsonValue& property : listed->members) {
      if (is_false(&property) && !is_required(property.key)) continue;
      DSA_ASSIGN_OR_RETURN(const RuleId value, read(table.member(property, property.key)));
      object.properties.push_back({property.key, value, is_required(property.key)});
    }
  }
  DSA_RETURN_IF_ERROR(read_unlisted(place, object));
  for (const std::string& name : required) {
    const bool known = std::any_of(object.properties.begin(), object.properties.end(),
                                   [&](const auto& property) { return property.name == name; });
    if (known) continue;
    if (object.others < 0) {
      return invalid_argument("{}.required: \"{}\" is not among the properties", place.path, name);
    }
    if (object.other_name >= 0) {
      return unsupported(
          "{}.required: \"{}\" is not among the properties, and the names of others "
          "are bounded; not supported",
          place.path, name);
    }
    object.properties.push_back({name, object.others, true});
  }
  return Status();
}

Result<RuleId> SchemaReader::read_object(const Place& place) {
  RuleBuilder::Object object;
  DSA_RETURN_IF_ERROR(read_properties(place, object));
  DSA_ASSIGN_OR_RETURN(const Counts counts, read_counts(place, "minProperties", "maxProperties"));
  object.least = counts.least;
  object.most = counts.most;
  int64_t n_required = 0;
  for (const RuleBuilder::Property& property : object.properties)
    n_required += property.required ? 1 : 0;
  const auto n_listed = static_cast<int64_t>(object.properties.size());
  if ((counts.most >= 0 && n_required > counts.most) ||
      (object.others < 0 && n_listed < counts.least)) {
    return invalid_argument("{}: no object has so many or so few members", place.path);
  }
  if (builder_->full()) return unsupported("{}: more than {} rules", place.path, kMaxRules);
  return builder_->object(object);
}

// What follows the listed items: `items`, or `additionalItems` where `items` is the list.
Result<RuleId> SchemaReader::read_other_items(const Place& place, bool lists_items) {
  const std::string_view key = lists_items ? "additionalItems" : "items";
  const JsonValue* others = place.value->find(key);
  if (others == nullptr) return builder_->any();
  if (is_false(others)) return RuleId{-1};
  return read(place.member(*others, key));
}

Result<RuleId> SchemaReader::read_array(const Place& place) {
  DSA_ASSIGN_OR_RETURN(const Counts counts, read_counts(place, "minItems", "maxItems"));
  if (is_true(place.value->find("uniqueItems")) && counts.most != 0 && counts.most != 1) {
    return read_set(place, counts);
  }
  const JsonValue* items = place.value->find("items");
  const bool lists_items = items != nullptr && items->kind == JsonKind::kArray;
  const std::string_view key = lists_items ? "items" : "prefixItems";
  std::vector<RuleId> rules;
  if (const JsonValue* listed = place.value->find(key)) {
    const Place list = place.member(*listed, key);
    if (listed->kind != JsonKind::kArray) return list.wrong("an array of schemas");
    for (size_t i = 0; i < listed->members.size(); ++i) {
      DSA_ASSIGN_OR_RETURN(const RuleId item,
                           read({&listed->members[i], fmt::format("{}[{}]", list.path, i)}));
      rules.push_back(item);
    }
  }
  DSA_ASSIGN_OR_RETURN(const RuleId others, read_other_items(place, lists_items));
  if (others < 0 && counts.least > static_cast<int64_t>(rules.size())) {
    return invalid_argument("{}.minItems: {}, but there are only {} items", place.path,
                            counts.least, rules.size());
  }
  return builder_->array(rules, others, counts.least, counts.most);
}

// Items that all differ can be told apart while they are written where their values are listed.
Result<RuleId> SchemaReader::read_set(const Place& place, Counts counts) {
  const JsonValue* items = place.value->find("items");
  JsonValue item;
  if (items != nullptr && place.value->find("prefixItems") == nullptr) {
    DSA_ASSIGN_OR_RETURN(item, resolved(place.member(*items, "items")));
  }
  std::vector<std::string> values;
  if (const JsonValue* listed = item.find("enum")) {
    for (const JsonValue& value : listed->members)
      values.push_back(dump_json(value));
  } else if (const JsonValue* type = item.find("type");
             type != nullptr && type->text == "boolean") {
    values = {"true", "false"};
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (values.empty() || values.size() > static_cast<size_t>(kMaxSet)) {
    return unsupported("{}.uniqueItems: supported for items that are one of 1 to {} listed values",
                       place.path, kMaxSet);
  }
  if (counts.least > static_cast<int64_t>(values.size())) {
    return invalid_argument("{}.minItems: {}, but only {} values differ", place.path, counts.least,
                            values.size());
  }
  std::vector<RuleId> rules;
  for (const std::string& value : values)
    rules.push_back(builder_->literal(value));
  return builder_->set(rules, counts.least, counts.most);
}

}  // namespace

Result<RuleId> schema_rule(const JsonValue& schema, std::string_view path, RuleBuilder& builder) {
  DSA_ASSIGN_OR_RETURN(const RuleId rule,
                       SchemaReader(schema, path, builder).read({&schema, std::string(path)}));
  if (builder.can_end(rule)) return rule;
  return invalid_argument("{}: every value that fits contains another, without end", path);
}

}  // namespace dsa::grammar
