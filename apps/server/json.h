// JSON of requests and answers.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "dsa/status.h"

namespace server {

using Json = nlohmann::ordered_json;

// Errors  kInvalidArgument: not JSON (where and what), nested more than 128 levels deep, or an
// object
//         with more than 4,096 members
dsa::Result<Json> parse_json(std::string_view text);

// On one line; what is not UTF-8 becomes U+FFFD.
std::string dump(const Json& value);

// A value for a message: one line, long ones cut.
std::string shown(const Json& value);

}  // namespace server
