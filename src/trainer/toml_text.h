// What a TOML text may hold before it is handed to the parser.
#pragma once

#include <string>
#include <string_view>

#include "dsa/status.h"

namespace dsa {

// Refuses bytes that are not ASCII outside comments and texts, and texts over several lines: toml++
// 3.3 leaves defined behaviour on a letter such as U+00E9 where a key or a value could begin.
//   Errors  kCorruption: `name` with the line
Status check_toml_characters(std::string_view text, const std::string& name);

}  // namespace dsa
