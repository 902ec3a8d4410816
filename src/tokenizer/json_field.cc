#include "tokenizer/json_field.h"

#include "common/status_macros.h"
#include "tokenizer/utf8.h"

namespace dsa {
namespace {

constexpr std::size_t kMaxShown = 60;

}  // namespace

std::string describe(simdjson::dom::element value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  std::string text = simdjson::minify(value);
  if (text.size() <= kMaxShown) return text;
  std::string shown;
  append_well_formed(std::string_view(text).substr(0, kMaxShown), shown);
  return shown + "...";
}

std::string JsonField::member_path(std::string_view key) const {
  const bool root = path_.find(": ") == std::string::npos;
  return fmt::format("{}{}{}", path_, root ? ": " : ".", key);
}

Result<std::optional<JsonField>> JsonField::find(std::string_view key) const {
  DSA_ASSIGN_OR_RETURN(const simdjson::dom::object members, object());
  simdjson::dom::element member;
  if (members.at_key(key).get(member) != simdjson::SUCCESS || member.is_null()) {
    return std::optional<JsonField>();
  }
  return std::optional<JsonField>(JsonField(member_path(key), member));
}

Result<JsonField> JsonField::get(std::string_view key) const {
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> member, find(key));
  if (!member) return corruption("{}: missing or null", member_path(key));
  return *member;
}

JsonField JsonField::element(std::size_t i, simdjson::dom::element value) const {
  return JsonField(fmt::format("{}[{}]", path_, i), value);
}

Result<simdjson::dom::object> JsonField::object() const {
  simdjson::dom::object object;
  if (value_.get(object) != simdjson::SUCCESS) return corrupt("an object");
  return object;
}

Result<simdjson::dom::array> JsonField::array() const {
  simdjson::dom::array array;
  if (value_.get(array) != simdjson::SUCCESS) return corrupt("an array");
  return array;
}

Result<std::string_view> JsonField::string() const {
  std::string_view text;
  if (value_.get(text) != simdjson::SUCCESS) return corrupt("a string");
  return text;
}

Result<int64_t> JsonField::integer() const {
  int64_t number = 0;
  if (value_.get(number) != simdjson::SUCCESS) return corrupt("an integer");
  return number;
}

Result<bool> JsonField::bool_or(std::string_view key, bool otherwise) const {
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> member, find(key));
  if (!member) return otherwise;
  bool value = false;
  if (member->value_.get(value) != simdjson::SUCCESS) return member->corrupt("true or false");
  return value;
}

Result<std::string_view> JsonField::string_or(std::string_view key,
                                              std::string_view otherwise) const {
  DSA_ASSIGN_OR_RETURN(const std::optional<JsonField> member, find(key));
  return member ? member->string() : otherwise;
}

Status JsonField::corrupt(std::string_view want) const {
  return corruption("{}: {}, want {}", path_, describe(value_), want);
}

Status JsonField::unsupported(std::string_view want) const {
  return dsa::unsupported("{}: {}, want {}", path_, describe(value_), want);
}

}  // namespace dsa
