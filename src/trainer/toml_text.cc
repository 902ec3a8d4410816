#include "trainer/toml_text.h"

#include <cstddef>

#include "common/status_macros.h"

namespace dsa {

Status check_toml_characters(std::string_view text, const std::string& name) {
  size_t line = 1;
  char inside = 0;  // '#', '"' or '\'': a comment or a text; it ends with the line at the latest
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      ++line;
      inside = 0;
    } else if (inside == '"' && c == '\\' && i + 1 < text.size() && text[i + 1] != '\n') {
      ++i;
    } else if (inside != 0) {
      if (c == inside && inside != '#') inside = 0;
    } else if (c == '#' || c == '"' || c == '\'') {
      if (c != '#' && text.substr(i, 3) == std::string(3, c)) {
        return corruption("{}:{}: a text over several lines, want it on one", name, line);
      }
      inside = c;
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return corruption("{}:{}: not TOML: a character that is not ASCII outside a text", name,
                        line);
    }
  }
  return {};
}

}  // namespace dsa
