// Any text as JSON for the command line: refused with a bounded message, or a document that can be
// shown and whose members can be cut out as they are spelled.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/io.h"
#include "cli/json_member.h"

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

bool is_one_line(const std::string& text) {
  return text.find_first_of("\n\r\x1b") == std::string::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto document = cli::parse_json(text, "fuzz");
  if (!document.ok()) {
    const std::string line = cli::one_line(document.status().message());
    check(is_one_line(line) && line.size() < 4096);
    return 0;
  }
  check(is_one_line(cli::shown(*document)) && cli::shown(*document).size() < 512);
  if (!document->is_object()) return 0;
  for (const auto& [key, value] : document->items()) {
    const std::string member = cli::json_member(text, key);
    check(member.empty() || cli::parse_json(member, "member").ok());
  }
  return 0;
}
