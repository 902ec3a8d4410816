#include "server/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace server {

std::optional<int64_t> whole_number(const Json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) return {};
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return {};
  constexpr double kTwoTo63 = 9223372036854775808.0;
  const auto number = value.get<double>();
  const bool whole = number >= -kTwoTo63 && number < kTwoTo63 && std::floor(number) == number;
  return whole ? std::optional(static_cast<int64_t>(number)) : std::nullopt;
}

Fields::Fields(const Json& object, std::string path) : object_(&object), path_(std::move(path)) {
  if (object.is_object()) return;
  ApiError error;
  error.param = path_;
  error.message = path_.empty() ? fmt::format("the body is {}, want a JSON object", shown(object))
                                : fmt::format("{}: {}, want an object", path_, shown(object));
  error_ = error;
}

const Json* Fields::find(const std::string& name) {
  read_.insert(name);
  if (!object_->is_object()) return nullptr;
  const auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::string Fields::path_of(const std::string& name) const {
  return path_.empty() ? name : path_ + "." + name;
}

void Fields::refuse(const std::string& name, const std::string& what) {
  if (error_) return;
  ApiError error;
  error.param = path_of(name);
  error.message = fmt::format("{}: {}", error.param, what);
  error_ = error;
}

void Fields::refuse(const std::string& name, const Json& value, const std::string& want) {
  refuse(name, fmt::format("{}, want {}", shown(value), want));
}

bool Fields::flag(const std::string& name, bool otherwise) {
  const Json* value = find(name);
  if (value == nullptr) return otherwise;
  if (value->is_boolean()) return value->get<bool>();
  if (*value == Json(0) || *value == Json(1)) return *value == Json(1);
  refuse(name, *value, "true or false");
  return otherwise;
}

std::optional<double> Fields::number(const std::string& name, double least, double most) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) {
    const auto number = value->get<double>();
    if (number >= least && number <= most) return number;
  }
  refuse(name, *value, fmt::format("a number from {} to {}", least, most));
  return std::nullopt;
}

std::optional<int64_t> Fields::integer(const std::string& name, int64_t least, int64_t most) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto number = whole_number(*value);
  if (number && *number >= least && *number <= most) return number;
  refuse(name, *value, fmt::format("a whole number from {} to {}", least, most));
  return std::nullopt;
}

std::optional<int64_t> Fields::count(const std::string& name, int64_t least, int64_t most) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (std::floor(number) == number && number >= static_cast<double>(least)) {
    return number < static_cast<double>(most) ? static_cast<int64_t>(number) : most;
  }
  refuse(name, *value, fmt::format("a whole number of at least {}", least));
  return std::nullopt;
}

std::optional<std::string> Fields::text(const std::string& name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  refuse(name, *value, "a string");
  return std::nullopt;
}

std::vector<std::string> Fields::texts(const std::string& name, size_t most) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  const bool strings = value->is_array() && value->size() <= most &&
                       std::all_of(value->begin(), value->end(),
                                   [](const Json& entry) { return entry.is_string(); });
  if (strings) return value->get<std::vector<std::string>>();
  refuse(name, *value, fmt::format("a string or an array of at most {} strings", most));
  return {};
}

void Fields::accept_only(const std::string& name,
                         const std::vector<Json>& harmless,
                         const std::string& why) {
  const Json* value = find(name);
  if (value == nullptr) return;
  if (std::find(harmless.begin(), harmless.end(), *value) == harmless.end()) {
    refuse(name, fmt::format("{}: {}", shown(*value), why));
  }
}

void Fields::refuse_unread() {
  if (!object_->is_object()) return;
  for (const auto& [name, value] : object_->items()) {
    if (value.is_null() || read_.count(name) > 0) continue;
    refuse(name.substr(0, 100), "unknown field");
    return;
  }
}

void Fields::adopt(const std::optional<ApiError>& error) {
  if (!error_) error_ = error;
}

}  // namespace server
