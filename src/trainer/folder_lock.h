// One process at a time in the folder of a run.
#pragma once

#include <string>
#include <utility>

#include "dsa/status.h"

namespace dsa::trainer {

// Holds the lock of the file `.lock` in a folder. The file stays: a lock on a file that was removed
// excludes nobody.
class FolderLock {
 public:
  // Errors  kResourceExhausted: another process holds it (names the file); kIoError
  static Result<FolderLock> take(const std::string& folder);

  FolderLock() = default;
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FolderLock();

 private:
  int fd_ = -1;  // -1: holds nothing
};

}  // namespace dsa::trainer
