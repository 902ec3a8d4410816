#include "cli/json_member.h"

namespace cli {
namespace {

// The end of the string that begins at text[at] with a quote.
size_t skip_string(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

// The end of the value that begins at or after text[at]: a comma or bracket of the enclosing value.
size_t skip_value(std::string_view text, size_t at) {
  int depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = skip_string(text, at);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    const bool closes = c == '}' || c == ']';
    if (depth == 0 && (closes || c == ',')) return at;
    if (closes) --depth;
    ++at;
  }
  return at;
}

}  // namespace

std::string json_member(std::string_view object, std::string_view name) {
  std::string found;
  size_t at = object.find('{');
  while (at < object.size() && object[at] != '}') {
    const size_t key = object.find('"', at);
    if (key == std::string_view::npos) break;
    const size_t key_end = skip_string(object, key);
    const size_t value = object.find(':', key_end) + 1;
    at = skip_value(object, value);
    if (object.substr(key + 1, key_end - key - 2) == name) found = object.substr(value, at - value);
  }
  return found;
}

}  // namespace cli
