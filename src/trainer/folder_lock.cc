#include "trainer/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/status_macros.h"

namespace dsa::trainer {

Result<FolderLock> FolderLock::take(const std::string& folder) {
  const std::string path = folder + "/.lock";
  FolderLock lock;
  lock.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (lock.fd_ < 0) {
    return error(StatusCode::kIoError, "{}: cannot create: {}", path, std::strerror(errno));
  }
  if (::flock(lock.fd_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) {
    return error(StatusCode::kResourceExhausted,
                 "{}: held by another run: want an output folder of its own", path);
  }
  return error(StatusCode::kIoError, "{}: cannot lock: {}", path, std::strerror(errno));
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace dsa::trainer
