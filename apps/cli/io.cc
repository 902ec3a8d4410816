#include "cli/io.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/interrupt.h"

namespace cli {
namespace {

using dsa::Status;
using dsa::StatusCode;

constexpr int kMaxJsonDepth = 256;
constexpr size_t kMaxShown = 60;  // characters

int g_write_error = 0;  // errno of the first failed write to standard output

void remember_write_error() {
  if (g_write_error == 0) g_write_error = errno;
}

Status open_error(const std::string& path) {
  const auto code = errno == ENOENT ? StatusCode::kNotFound : StatusCode::kIoError;
  return Status(
      code, fmt::format("{}: cannot open: {}", path.empty() ? "\"\"" : path, std::strerror(errno)));
}

// "[json.exception.parse_error.101] parse error at line 1, ..." without its first part
std::string_view reason(std::string_view what) {
  const size_t end = what.find("] ");
  return end == std::string_view::npos ? what : what.substr(end + 2);
}

}  // namespace

bool stdin_is_terminal() {
  return isatty(STDIN_FILENO) == 1;
}
bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) == 1;
}

std::string input_name(const std::string& path) {
  return path == "-" ? "standard input" : path;
}

dsa::Result<std::string> read_input(const std::string& path) {
  const bool from_stdin = path == "-";
  std::FILE* file = from_stdin ? stdin : std::fopen(path.c_str(), "rb");
  if (file == nullptr) return open_error(path);
  const auto close = [from_stdin](std::FILE* f) {
    if (!from_stdin) std::fclose(f);
  };
  const std::unique_ptr<std::FILE, decltype(close)> closer(file, close);
  std::string text;
  std::array<char, 65536> buffer{};
  size_t n = 0;
  while ((n = std::fread(buffer.data(), 1, buffer.size(), file)) > 0)
    text.append(buffer.data(), n);
  if (std::ferror(file) != 0 && !interrupted()) {
    return Status(StatusCode::kIoError,
                  fmt::format("{}: cannot read: {}", input_name(path), std::strerror(errno)));
  }
  return text;
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) remember_write_error();
}

Status flush_stdout() {
  if (std::fflush(stdout) != 0) remember_write_error();
  if (g_write_error == 0) return Status();
  return Status(StatusCode::kIoError,
                fmt::format("standard output: cannot write: {}", std::strerror(g_write_error)));
}

void note(std::string_view line) {
  std::string text(line);
  text += '\n';
  std::fwrite(text.data(), 1, text.size(), stderr);
}

std::string one_line(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else if (c == '\xc2' && next >= 0x80 && next < 0xa0) {  // U+0080 to U+009F: also controls
      out += fmt::format("\\u{:04x}", next);
      ++i;
    } else {
      out += c;
    }
  }
  return out;
}

dsa::Result<nlohmann::ordered_json> parse_json(const std::string& text, const std::string& name) {
  using nlohmann::ordered_json;
  bool too_deep = false;
  const auto watch = [&too_deep](int depth, ordered_json::parse_event_t, const ordered_json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return !too_deep;  // false: what was parsed is dropped
  };
  ordered_json document;
  try {
    document = ordered_json::parse(text, watch);
  } catch (const ordered_json::exception& exception) {
    return Status(StatusCode::kCorruption,
                  fmt::format("{}: is not JSON: {:.300}", name, reason(exception.what())));
  }
  if (!too_deep) return document;
  return Status(StatusCode::kCorruption,
                fmt::format("{}: nested more than {} levels deep", name, kMaxJsonDepth));
}

std::string shown(const nlohmann::ordered_json& value) {
  const std::string text =
      value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  const std::string cut = fmt::format("{:.{}}", text, kMaxShown);
  return one_line(cut) + (cut.size() < text.size() ? "..." : "");
}

}  // namespace cli
