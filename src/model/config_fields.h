// Reading one JSON object field by field, so that nothing in it goes unnoticed: a field is read,
// or listed as having no influence, or refused by name.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

namespace dsa {

// Parses a small JSON object from a file that may be hostile.
//   Errors  kCorruption: too long, not JSON, nested too deeply, a key twice, not an object. The
//           message starts with `name`.
Result<nlohmann::json> parse_json_object(const std::string& text, const std::string& name);

struct IgnoredField {
  std::string_view name;
  const char* reason;  // why it cannot change a result
};

// What is wrong with an object.
struct FieldFindings {
  std::vector<Status> problems;      // one per field at most, at most kMaxFieldProblems
  std::vector<std::string> unknown;  // "<where><key>" of fields neither read nor ignored
};
inline constexpr size_t kMaxFieldProblems = 1000;

// Failures are collected: a read that fails gives its fallback, and finish() reports all of them. A
// field that is null counts as absent.
class ConfigFields {
 public:
  // `where` starts the messages, e.g. "config.json: " or "config.json: rope_scaling.". The object
  // must outlive this.
  ConfigFields(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  bool has(const char* key) const;

  // None of these fields has been refused: what is computed from them can be compared.
  bool sound(std::initializer_list<const char*> keys) const;

  // A missing field is a failure; so is a value outside [min, max] or of another type.
  int64_t integer(const char* key, int64_t min, int64_t max);
  double number(const char* key, double min, double max);

  // A missing field gives the fallback.
  int64_t integer_or(const char* key, int64_t fallback, int64_t min, int64_t max);
  double number_or(const char* key, double fallback, double min, double max);
  bool boolean_or(const char* key, bool fallback);
  std::string text_or(const char* key, const std::string& fallback);
  std::vector<std::string> texts_or_empty(const char* key);  // an array of strings
  std::vector<int64_t> integers_or_empty(const char* key, int64_t min, int64_t max);  // or one

  // For fields of which this library runs one value: absent or equal passes, another value is
  // kUnsupported.
  void expect(const char* key, const nlohmann::json& wanted);

  // The object of that name; nullptr when it is absent or no object (which is a failure).
  const nlohmann::json* object_or_null(const char* key);

  // kCorruption and kUnsupported: "<where><key>: <value>, want <wanted>".
  void refuse_value(const char* key, std::string_view wanted);
  void refuse_as_unsupported(const char* key, std::string_view wanted);

  void keep(FieldFindings inner);  // of an object within this one

  FieldFindings finish(std::span<const IgnoredField> ignored);

 private:
  const nlohmann::json* find(const char* key);
  void refuse(StatusCode code, const char* key, std::string_view wanted);

  const nlohmann::json& object_;
  std::string where_;
  std::set<std::string, std::less<>> read_;
  std::set<std::string, std::less<>> refused_;
  FieldFindings findings_;
};

}  // namespace dsa
