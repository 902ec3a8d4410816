#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "dsa/token_data.h"

#include "common/status_macros.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"

namespace dsa {
namespace {

namespace fs = std::filesystem;

Status unreadable(const fs::path& path, const std::error_code& reason) {
  const bool missing = reason == std::errc::no_such_file_or_directory;
  return error(missing ? StatusCode::kNotFound : StatusCode::kIoError, "{}: cannot open: {}",
               path.string(), reason.message());
}

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

// Links to folders are not followed: they may lead back.
Status list_folder(const fs::path& folder, std::vector<std::string>* files) {
  std::error_code failed;
  fs::recursive_directory_iterator entry(folder, failed);
  for (; !failed && entry != fs::recursive_directory_iterator(); entry.increment(failed)) {
    if (hidden(entry->path())) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file(failed)) {
      files->push_back(entry->path().string());
    }
    if (failed) break;
  }
  return failed ? unreadable(folder, failed) : Status();
}

}  // namespace

Result<std::vector<std::string>> list_text_files(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code failed;
    const fs::file_status status = fs::status(path, failed);
    if (!fs::exists(status)) {
      return unreadable(
          path, failed ? failed : std::make_error_code(std::errc::no_such_file_or_directory));
    }
    if (fs::is_directory(status)) {
      std::vector<std::string> inside;
      DSA_RETURN_IF_ERROR(list_folder(path, &inside));
      std::sort(inside.begin(), inside.end());
      files.insert(files.end(), inside.begin(), inside.end());
    } else if (fs::is_regular_file(status)) {
      files.push_back(path);
    } else {
      return invalid_argument("{}: want a file or a folder", path);
    }
  }
  if (files.empty()) return invalid_argument("{}: no files", fmt::join(paths, ", "));
  return files;
}

Result<std::string> read_text_file(const std::string& path) {
  DSA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

Status write_text_file(const std::string& path, const std::string& text) {
  return write_file(path, text);
}

}  // namespace dsa
