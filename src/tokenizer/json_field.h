// A value of a parsed JSON file that knows where it stands, so that errors can name it.
#pragma once

#include <simdjson.h>

#include <optional>
#include <string>
#include <string_view>

#include "dsa/status.h"

namespace dsa {

class JsonField {
 public:
  // `path`: the file at the root, then e.g. `tokenizer.json: model.type`.
  JsonField(std::string path, simdjson::dom::element value)
      : path_(std::move(path)), value_(value) {}

  const std::string& path() const { return path_; }
  simdjson::dom::element value() const { return value_; }

  // Member `key` of an object; nothing when it is absent or null.
  // Errors (of these and those below)   kCorruption: another type; names path, value and want
  Result<std::optional<JsonField>> find(std::string_view key) const;
  Result<JsonField> get(std::string_view key) const;  // absent or null is an error
  JsonField element(std::size_t i, simdjson::dom::element value) const;

  Result<simdjson::dom::object> object() const;
  Result<simdjson::dom::array> array() const;
  Result<std::string_view> string() const;
  Result<int64_t> integer() const;

  // Members with a value for when they are absent or null.
  Result<bool> bool_or(std::string_view key, bool otherwise) const;
  Result<std::string_view> string_or(std::string_view key, std::string_view otherwise) const;

  // `<path>: <value>, want <want>`
  Status corrupt(std::string_view want) const;
  Status unsupported(std::string_view want) const;

 private:
  std::string member_path(std::string_view key) const;

  std::string path_;
  simdjson::dom::element value_;
};

// A value for an error message: scalars as JSON (long text cut), containers by their kind.
std::string describe(simdjson::dom::element value);

}  // namespace dsa
