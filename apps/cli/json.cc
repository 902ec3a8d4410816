#include "cli/json.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "cli/io.h"

namespace cli {

using nlohmann::ordered_json;

Json::Json(std::nullptr_t) : value_(std::make_unique<ordered_json>()) {}
Json::Json(bool value) : value_(std::make_unique<ordered_json>(value)) {}
Json::Json(int value) : value_(std::make_unique<ordered_json>(value)) {}
Json::Json(int64_t value) : value_(std::make_unique<ordered_json>(value)) {}
Json::Json(uint64_t value) : value_(std::make_unique<ordered_json>(value)) {}
Json::Json(double value) : value_(std::make_unique<ordered_json>(value)) {}
Json::Json(const char* value) : value_(std::make_unique<ordered_json>(value)) {}
Json::Json(const std::string& value) : value_(std::make_unique<ordered_json>(value)) {}
Json::Json(std::string_view value) : value_(std::make_unique<ordered_json>(value)) {}

Json::Json(std::initializer_list<Member> members) : Json(object()) {
  for (const Member& member : members)
    (*value_)[std::string(member.name)] = member.value.value();
}

Json::Json(const Json& other) : value_(std::make_unique<ordered_json>(*other.value_)) {}
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

Json& Json::operator=(const Json& other) {
  *this = Json(other);
  return *this;
}

Json Json::array() {
  Json out;
  *out.value_ = ordered_json::array();
  return out;
}

Json Json::object() {
  Json out;
  *out.value_ = ordered_json::object();
  return out;
}

void Json::push_back(Json element) {
  value_->push_back(std::move(*element.value_));
}

void Json::set(const std::string& name, Json value) {
  (*value_)[name] = std::move(*value.value_);
}

void Json::update(const Json& object) {
  value_->update(*object.value_);
}

void print_json(const Json& document) {
  const ordered_json& value = document.value();
  print(value.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace cli
