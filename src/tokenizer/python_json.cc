#include "tokenizer/python_json.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/status_macros.h"

namespace dsa {
namespace {

constexpr std::size_t kMaxDepth = 128;

// Python's repr(): the shortest digits that give the number back, always with a point or exponent.
std::string float_repr(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

bool is_integer(std::string_view spelled) {
  return spelled.find_first_of(".eE") == std::string_view::npos;
}

// Receives the events of nlohmann's parser, which keeps no stack of its own on the call stack.
class TreeBuilder {
 public:
  using Json = nlohmann::json;

  bool null() { return add(JsonKind::kNull, "null"); }
  bool boolean(bool value) { return add(JsonKind::kBool, value ? "true" : "false"); }
  bool number_integer(int64_t value) { return add(JsonKind::kNumber, fmt::to_string(value)); }
  bool number_unsigned(uint64_t value) { return add(JsonKind::kNumber, fmt::to_string(value)); }
  // Integers past 64 bits arrive here too.
  bool number_float(double value, const std::string& spelled) {
    return add(JsonKind::kNumber, is_integer(spelled) ? spelled : float_repr(value));
  }
  bool string(std::string& value) { return add(JsonKind::kString, std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // JSON text has none
  bool start_object(std::size_t) { return open(JsonKind::kObject); }
  bool start_array(std::size_t) { return open(JsonKind::kArray); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    keys_.back() = std::move(name);
    return true;
  }
  bool parse_error(std::size_t n_read, const std::string&, const Json::exception& failure) {
    n_read_ = n_read;
    error_ = failure.what();
    error_.erase(0, error_.find("] ") + 2);  // the name of the exception
    return false;
  }

  const std::string& error() const { return error_; }
  std::size_t n_read() const { return n_read_; }  // up to the error; the end counts as one
  JsonValue root() && { return std::move(root_); }

 private:
  bool add(JsonKind kind, std::string text);
  bool add(JsonValue value);
  bool open(JsonKind kind);
  bool close();

  JsonValue root_;
  std::vector<JsonValue> open_;    // containers still being read, outermost first
  std::vector<std::string> keys_;  // the key each of them reads
  std::string error_;
  std::size_t n_read_ = 0;
};

bool TreeBuilder::add(JsonKind kind, std::string text) {
  JsonValue value;
  value.kind = kind;
  value.text = std::move(text);
  return add(std::move(value));
}

bool TreeBuilder::add(JsonValue value) {
  if (open_.empty()) {
    root_ = std::move(value);
  } else {
    value.key = std::exchange(keys_.back(), {});
    open_.back().members.push_back(std::move(value));
  }
  return true;
}

bool TreeBuilder::open(JsonKind kind) {
  if (open_.size() == kMaxDepth) {
    error_ = fmt::format("nested deeper than {} levels", kMaxDepth);
    return false;
  }
  open_.emplace_back().kind = kind;
  keys_.emplace_back();
  return true;
}

void keep_last_of_each_key(JsonValue& object) {
  auto& members = object.members;
  std::map<std::string_view, std::size_t> first;
  std::vector<bool> repeated(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto [place, fresh] = first.emplace(members[i].key, i);
    repeated[i] = !fresh;
    if (fresh) continue;
    JsonValue& kept = members[place->second];
    kept.kind = members[i].kind;
    kept.text.swap(members[i].text);
    kept.members.swap(members[i].members);
  }
  std::size_t i = 0;
  const auto gone = [&](const auto&) { return repeated[i++]; };
  members.erase(std::remove_if(members.begin(), members.end(), gone), members.end());
}

bool TreeBuilder::close() {
  JsonValue done = std::move(open_.back());
  open_.pop_back();
  keys_.pop_back();
  if (done.kind == JsonKind::kObject) keep_last_of_each_key(done);
  return add(std::move(done));
}

void append_string(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f";
    constexpr std::string_view kLetters = "\"\\nrtbf";
    if (const std::size_t i = kEscaped.find(c); i != std::string_view::npos) {
      out += '\\';
      out += kLetters[i];
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_value(const JsonValue& value, std::string& out) {
  if (value.kind == JsonKind::kString) return append_string(value.text, out);
  const bool object = value.kind == JsonKind::kObject;
  if (!object && value.kind != JsonKind::kArray) {
    out += value.text;
    return;
  }
  out += object ? '{' : '[';
  for (std::size_t i = 0; i < value.members.size(); ++i) {
    const JsonValue& member = value.members[i];
    if (i > 0) out += ", ";
    if (object) {
      append_string(member.key, out);
      out += ": ";
    }
    append_value(member, out);
  }
  out += object ? '}' : ']';
}

}  // namespace

const JsonValue* JsonValue::find(std::string_view name) const {
  for (const JsonValue& member : members) {
    if (member.key == name) return &member;
  }
  return nullptr;
}

bool JsonValue::empty() const {
  switch (kind) {
    case JsonKind::kNull:
      return true;
    case JsonKind::kBool:
      return text == "false";
    case JsonKind::kNumber:
      return text == "0" || text == "0.0" || text == "-0.0";
    case JsonKind::kString:
      return text.empty();
    case JsonKind::kArray:
    case JsonKind::kObject:
      return members.empty();
  }
  return false;
}

Result<JsonValue> parse_json(std::string_view text) {
  TreeBuilder builder;
  if (nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) {
    return std::move(builder).root();
  }
  return invalid_argument("{}", builder.error());
}

bool begins_json(std::string_view text) {
  TreeBuilder builder;
  return nlohmann::json::sax_parse(text.begin(), text.end(), &builder) ||
         builder.n_read() > text.size();
}

std::string dump_json(const JsonValue& value) {
  std::string out;
  append_value(value, out);
  return out;
}

std::string dump_json_string(std::string_view text) {
  std::string out;
  append_string(text, out);
  return out;
}

const char* json_kind_name(JsonKind kind) {
  switch (kind) {
    case JsonKind::kNull:
      return "null";
    case JsonKind::kBool:
      return "true or false";
    case JsonKind::kNumber:
      return "a number";
    case JsonKind::kString:
      return "a string";
    case JsonKind::kArray:
      return "an array";
    case JsonKind::kObject:
      return "an object";
  }
  return "?";
}

}  // namespace dsa
