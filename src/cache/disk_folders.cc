#include "cache/disk_folders.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "cache/page_file.h"
#include "common/status_macros.h"

namespace dsa {

namespace fs = std::filesystem;

bool is_identity(std::string_view name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<std::vector<std::string>> list_identities(const std::string& dir) {
  std::error_code failure;
  std::vector<std::string> names;
  fs::directory_iterator entries(dir, failure);
  for (; !failure && entries != fs::directory_iterator(); entries.increment(failure)) {
    std::error_code ignored;
    const std::string name = entries->path().filename().string();
    if (is_identity(name) && fs::is_directory(entries->symlink_status(ignored)))
      names.push_back(name);
  }
  if (failure) {
    const bool missing = failure == std::errc::no_such_file_or_directory;
    return error(missing ? StatusCode::kNotFound : StatusCode::kIoError, "{}: cannot read: {}", dir,
                 failure.message());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void remove_unfinished(const std::string& folder) {
  std::error_code failure;
  std::vector<fs::path> found;
  fs::directory_iterator entries(folder, failure);
  for (; !failure && entries != fs::directory_iterator(); entries.increment(failure)) {
    const fs::path path = entries->path();
    if (path.extension() == kUnfinishedSuffix && parse_page_file_name(path.stem().string()))
      found.push_back(path);
  }
  for (const fs::path& path : found) {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
}

}  // namespace dsa
