#include "io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/status_macros.h"

namespace dsa {
namespace {

Status io_error(const std::string& path, const char* action) {
  return error(StatusCode::kIoError, "{}: cannot {}: {}", path, action, std::strerror(errno));
}

}  // namespace

std::string AtomicFile::temporary() const {
  return fmt::format("{}.{}.tmp", path_, ::getpid());
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  AtomicFile file(path, -1);
  file.fd_ =
      ::open(file.temporary().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (file.fd_ < 0) return io_error(path, "create");
  return file;
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary().c_str());
}

Status AtomicFile::append(std::span<const std::byte> bytes) {
  DSA_RETURN_IF_ERROR(write_at(end_, bytes));
  end_ += bytes.size();
  return {};
}

Status AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(path_, "write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Status AtomicFile::commit() {
  if (::fsync(fd_) != 0) return io_error(path_, "write");
  if (::rename(temporary().c_str(), path_.c_str()) != 0) return io_error(path_, "replace");
  ::close(std::exchange(fd_, -1));
  return {};
}

Status write_file(const std::string& path, std::string_view text) {
  DSA_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  DSA_RETURN_IF_ERROR(file.append(std::as_bytes(std::span(text))));
  return file.commit();
}

Status sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return io_error(path, "open");
  const int failed = ::fsync(fd);
  const Status status = failed != 0 ? io_error(path, "sync") : Status();
  ::close(fd);
  return status;
}

}  // namespace dsa
