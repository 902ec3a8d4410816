// Reading inputs and writing to the standard streams.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "dsa/status.h"

namespace cli {

bool stdin_is_terminal();
bool stderr_is_terminal();

// The whole file; "-" is standard input.
//   Errors  kNotFound, kIoError, with the path.
dsa::Result<std::string> read_input(const std::string& path);

// Standard output. Failures are kept until flush_stdout() reports them.
void print(std::string_view text);
void print_json(const nlohmann::ordered_json& document);
dsa::Status flush_stdout();

// One line on standard error.
void note(std::string_view line);

// Text for a message: line breaks and control characters escaped.
std::string one_line(std::string_view text);

// {"a": ...} parsed from `text`.   Errors  kCorruption, starting with `name`.
dsa::Result<nlohmann::ordered_json> parse_json(const std::string& text, const std::string& name);

}  // namespace cli
