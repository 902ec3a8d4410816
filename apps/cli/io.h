// Reading inputs and writing to the standard streams.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "dsa/status.h"

namespace cli {

bool stdin_is_terminal();
bool stderr_is_terminal();

// How messages name what read_input(path) reads: the path, or "standard input".
std::string input_name(const std::string& path);

// The whole file; "-" is standard input.
//   Errors  kNotFound, kIoError, with the path.
dsa::Result<std::string> read_input(const std::string& path);

// Standard output. Failures are kept until flush_stdout() reports them.
void print(std::string_view text);
dsa::Status flush_stdout();

// One line on standard error.
void note(std::string_view line);

// Text for a message: line breaks and control characters escaped.
std::string one_line(std::string_view text);

// {"a": ...} parsed from `text`.
//   Errors  kCorruption, starting with `name`: no JSON (where, and what is wrong), or nested so
//           deeply that recursion over it could exhaust the stack.
dsa::Result<nlohmann::ordered_json> parse_json(const std::string& text, const std::string& name);

// A value for a message: on one line, long ones cut.
std::string shown(const nlohmann::ordered_json& value);

}  // namespace cli
