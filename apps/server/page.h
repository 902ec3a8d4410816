// The files under page/, put into the program when it is built.
#pragma once

#include <string_view>

namespace server {

struct PageFile {
  const char* path;  // as requested: "/", "/app.js"
  const char* content_type;
  std::string_view content;
};

// Null when there is no such file.
const PageFile* find_page(std::string_view path);

}  // namespace server
