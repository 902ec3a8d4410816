// Reads the fields of a JSON object and remembers which ones there were no readers for.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/api_error.h"
#include "server/json.h"

namespace server {

// 4 and 4.0, which JSON does not tell apart; nothing for other values and beyond 64 bits.
std::optional<int64_t> whole_number(const Json& value);

// null counts as absent. The first failure sticks; reading goes on with defaults.
class Fields {
 public:
  // path: of the object inside the request, "" for the request itself.
  Fields(const Json& object, std::string path);

  const Json* find(const std::string& name);

  // true and false; also 1 and 0.
  bool flag(const std::string& name, bool otherwise);
  std::optional<double> number(const std::string& name, double least, double most);
  std::optional<int64_t> integer(const std::string& name, int64_t least, int64_t most);
  // As integer(), but what is larger than `most` counts as `most`.
  std::optional<int64_t> count(const std::string& name, int64_t least, int64_t most);
  std::optional<std::string> text(const std::string& name);
  // A string or an array of strings.
  std::vector<std::string> texts(const std::string& name, size_t most);

  void ignore(const std::string& name) { read_.insert(name); }
  // The field must be absent, or have one of these values that change nothing.
  void accept_only(const std::string& name,
                   const std::vector<Json>& harmless,
                   const std::string& why);

  void refuse(const std::string& name, const std::string& what);
  void refuse(const std::string& name, const Json& value, const std::string& want);
  void refuse_unread();  // but for those that are null

  std::string path_of(const std::string& name) const;
  const std::optional<ApiError>& error() const { return error_; }
  void adopt(const std::optional<ApiError>& error);

 private:
  const Json* object_;
  std::string path_;
  std::set<std::string> read_;
  std::optional<ApiError> error_;
};

}  // namespace server
