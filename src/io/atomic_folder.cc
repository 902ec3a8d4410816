#include "io/atomic_folder.h"

#include <filesystem>
#include <system_error>

#include "common/status_macros.h"
#include "io/atomic_file.h"

namespace dsa {

namespace fs = std::filesystem;

Result<AtomicFolder> AtomicFolder::create(const std::string& path) {
  std::string plain = path;
  while (plain.size() > 1 && plain.back() == '/')
    plain.pop_back();
  std::error_code failed;
  if (plain.empty() || fs::exists(fs::symlink_status(plain, failed))) {
    return invalid_argument("{}: is there already, want a new folder", path);
  }
  AtomicFolder folder(plain);
  fs::remove_all(folder.folder(), failed);  // of a process that was killed
  fs::create_directories(folder.folder(), failed);
  if (failed) {
    return error(StatusCode::kIoError, "{}: cannot create: {}", folder.folder(), failed.message());
  }
  return folder;
}

AtomicFolder::~AtomicFolder() {
  if (!pending_) return;
  std::error_code ignored;
  fs::remove_all(folder(), ignored);
}

std::string AtomicFolder::folder() const {
  const fs::path path = path_;
  return (path.parent_path() / fmt::format(".{}.tmp", path.filename().string())).string();
}

std::string AtomicFolder::file(const std::string& name) const {
  return folder() + "/" + name;
}

Status AtomicFolder::commit() {
  DSA_RETURN_IF_ERROR(sync_folder(folder()));
  std::error_code failed;
  fs::rename(folder(), path_, failed);
  if (failed) return error(StatusCode::kIoError, "{}: cannot rename: {}", path_, failed.message());
  pending_ = false;
  const std::string parent = fs::path(path_).parent_path().string();
  return sync_folder(parent.empty() ? "." : parent);
}

}  // namespace dsa
