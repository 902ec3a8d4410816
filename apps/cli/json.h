// JSON that commands write. nlohmann::json stands behind it, in json.cc alone: its header takes
// longer to compile than a command.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// A value. Made from what it stands for; objects from their members: {{"name", 1}, {"other", "x"}}.
class Json {
 public:
  struct Member;

  Json(std::nullptr_t = nullptr);
  Json(bool value);
  Json(int value);
  Json(int64_t value);
  Json(uint64_t value);
  Json(double value);  // null when it is not finite
  Json(const char* value);
  Json(const std::string& value);
  Json(std::string_view value);
  Json(std::initializer_list<Member> members);
  template <class T>
  Json(const std::vector<T>& values) : Json(array()) {
    for (const T& value : values)
      push_back(value);
  }

  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept;
  ~Json();

  static Json array();
  static Json object();

  void push_back(Json element);                   // of an array, or of null, which becomes one
  void set(const std::string& name, Json value);  // of an object, or of null, which becomes one
  void update(const Json& object);                // takes its members over, at the end

  const nlohmann::ordered_json& value() const { return *value_; }

 private:
  std::unique_ptr<nlohmann::ordered_json> value_;
};

struct Json::Member {
  std::string_view name;
  Json value;
};

// Indented, on standard output; what is not UTF-8 becomes U+FFFD.
void print_json(const Json& document);

}  // namespace cli
