#include "model/config_fields.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>

#include "common/status_macros.h"

namespace dsa {

using nlohmann::json;

namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 20;
constexpr int kMaxDepth = 16;

// Watches a parse for what nlohmann's parser lets pass: keys given twice, and depth.
class ParseWatch {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    if (depth > kMaxDepth) too_deep_ = true;
    if (event == json::parse_event_t::object_start) keys_.emplace_back();
    if (event == json::parse_event_t::object_end) keys_.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second && !duplicate_) duplicate_ = key;
    }
    return !too_deep_;  // false: what was parsed is dropped
  }

  Status verdict(const std::string& name) const {
    if (too_deep_) return corruption("{}: nested more than {} levels deep", name, kMaxDepth);
    if (duplicate_) return corruption("{}: {:.200}: given twice", name, *duplicate_);
    return {};
  }

 private:
  bool too_deep_ = false;
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
  std::optional<std::string> duplicate_;
};

// The integer, when the value is one, also as 4.0, and lies within [min, max].
std::optional<int64_t> integer_within(const json& value, int64_t min, int64_t max) {
  if (value.is_number_float()) {
    constexpr double kExact = 9007199254740992.0;  // 2^53: from there on all doubles are whole
    const auto number = value.get<double>();
    if (!(std::fabs(number) <= kExact) || number != std::trunc(number)) return std::nullopt;
    return integer_within(json(static_cast<int64_t>(number)), min, max);
  }
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return std::nullopt;
  }
  const auto integer = value.get<int64_t>();
  if (integer < min || integer > max) return std::nullopt;
  return integer;
}

}  // namespace

Result<json> parse_json_object(const std::string& text, const std::string& name) {
  if (text.size() > kMaxTextBytes) {
    return corruption("{}: {} bytes, want at most {}", name, text.size(), kMaxTextBytes);
  }
  ParseWatch watch;
  json root;
  try {
    root = json::parse(text, [&watch](int depth, json::parse_event_t event, json& parsed) {
      return watch(depth, event, parsed);
    });
  } catch (const json::exception& exception) {
    return corruption("{}: {:.300}", name, exception.what());
  }
  DSA_RETURN_IF_ERROR(watch.verdict(name));
  if (!root.is_object()) return corruption("{}: not a JSON object", name);
  return root;
}

bool ConfigFields::has(const char* key) const {
  const auto place = object_.find(key);
  return place != object_.end() && !place->is_null();
}

const json* ConfigFields::find(const char* key) {
  read_.insert(key);
  return has(key) ? &object_[key] : nullptr;
}

int64_t ConfigFields::integer(const char* key, int64_t min, int64_t max) {
  if (!has(key)) refuse_value(key, fmt::format("an integer from {} to {}", min, max));
  return integer_or(key, min, min, max);
}

double ConfigFields::number(const char* key, double min, double max) {
  if (!has(key)) refuse_value(key, fmt::format("a number from {} to {}", min, max));
  return number_or(key, min, min, max);
}

int64_t ConfigFields::integer_or(const char* key, int64_t fallback, int64_t min, int64_t max) {
  const json* const value = find(key);
  if (value == nullptr) return fallback;
  const std::optional<int64_t> integer = integer_within(*value, min, max);
  if (!integer) refuse_value(key, fmt::format("an integer from {} to {}", min, max));
  return integer.value_or(fallback);
}

double ConfigFields::number_or(const char* key, double fallback, double min, double max) {
  const json* const value = find(key);
  if (value == nullptr) return fallback;
  const double number = value->is_number() ? value->get<double>() : min - 1;
  if (number >= min && number <= max) return number;
  refuse_value(key, fmt::format("a number from {} to {}", min, max));
  return fallback;
}

bool ConfigFields::boolean_or(const char* key, bool fallback) {
  const json* const value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  refuse_value(key, "true or false");
  return fallback;
}

std::string ConfigFields::text_or(const char* key, const std::string& fallback) {
  const json* const value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  refuse_value(key, "a string");
  return fallback;
}

std::vector<std::string> ConfigFields::texts_or_empty(const char* key) {
  const json* const value = find(key);
  if (value == nullptr) return {};
  const auto is_text = [](const json& element) { return element.is_string(); };
  if (value->is_array() && std::all_of(value->begin(), value->end(), is_text)) {
    return value->get<std::vector<std::string>>();
  }
  refuse_value(key, "an array of strings");
  return {};
}

std::vector<int64_t> ConfigFields::integers_or_empty(const char* key, int64_t min, int64_t max) {
  const json* const value = find(key);
  if (value == nullptr) return {};
  const json elements = value->is_array() ? *value : json::array({*value});
  std::vector<int64_t> integers;
  for (const json& element : elements) {
    const std::optional<int64_t> integer = integer_within(element, min, max);
    if (!integer) {
      refuse_value(key, fmt::format("integers from {} to {}", min, max));
      return {};
    }
    integers.push_back(*integer);
  }
  return integers;
}

void ConfigFields::expect(const char* key, const json& wanted) {
  const json* const value = find(key);
  if (value != nullptr && *value != wanted) refuse_as_unsupported(key, wanted.dump());
}

const json* ConfigFields::object_or_null(const char* key) {
  const json* const value = find(key);
  if (value == nullptr || value->is_object()) return value;
  refuse_value(key, "an object");
  return nullptr;
}

void ConfigFields::refuse_value(const char* key, std::string_view wanted) {
  refuse(StatusCode::kCorruption, key, wanted);
}

void ConfigFields::refuse_as_unsupported(const char* key, std::string_view wanted) {
  refuse(StatusCode::kUnsupported, key, wanted);
}

void ConfigFields::refuse(StatusCode code, const char* key, std::string_view wanted) {
  if (!refused_.insert(key).second || findings_.problems.size() >= kMaxFieldProblems) return;
  const json* const value = find(key);
  findings_.problems.push_back(error(code, "{}{}: {:.60}, want {}", where_, key,
                                     value != nullptr ? value->dump() : "absent", wanted));
}

bool ConfigFields::sound(std::initializer_list<const char*> keys) const {
  return std::none_of(keys.begin(), keys.end(),
                      [this](const char* key) { return refused_.contains(key); });
}

void ConfigFields::keep(FieldFindings inner) {
  const auto append = [](auto& all, auto& more) {
    const size_t room = kMaxFieldProblems - std::min(kMaxFieldProblems, all.size());
    more.resize(std::min(more.size(), room));
    std::move(more.begin(), more.end(), std::back_inserter(all));
  };
  append(findings_.problems, inner.problems);
  append(findings_.unknown, inner.unknown);
}

FieldFindings ConfigFields::finish(std::span<const IgnoredField> ignored) {
  for (const auto& item : object_.items()) {
    const std::string& key = item.key();
    if (item.value().is_null() || read_.contains(key)) continue;
    const bool known = std::any_of(ignored.begin(), ignored.end(),
                                   [&](const IgnoredField& field) { return field.name == key; });
    if (known || findings_.unknown.size() >= kMaxFieldProblems) continue;
    findings_.unknown.push_back(fmt::format("{}{:.200}", where_, key));
  }
  return std::move(findings_);
}

}  // namespace dsa
