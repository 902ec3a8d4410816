// A TOML text as the parser gets it.
#pragma once

#include <string>
#include <string_view>

#include "dsa/status.h"

namespace dsa::trainer {

// The same TOML in ASCII: texts between single quotes are given double ones, other letters in texts
// become \U escapes, comments lose theirs.
// toml++ 3.3 leaves defined behaviour on a letter such as U+00E9 where a value could end, so it is
// never given one.
//   Errors  kCorruption: a text over several lines, a character outside ASCII and texts, a
//           byte that is no UTF-8; `name` with the line
Result<std::string> ascii_toml(std::string_view text, const std::string& name);

}  // namespace dsa::trainer
