#include "io/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/status_macros.h"
#include "io/lfs_pointer.h"

namespace dsa {
namespace {

// A descriptor that is closed on every way out.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Status system_error(const std::string& path, const char* action) {
  const int reason = errno;
  const bool missing = reason == ENOENT || reason == ENOTDIR;
  return error(missing ? StatusCode::kNotFound : StatusCode::kIoError, "{}: cannot {}: {}", path,
               action, std::strerror(reason));
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must fail below instead of waiting for its writer.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return system_error(path, "open");
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) return system_error(path, "stat");
  if (!S_ISREG(info.st_mode)) return invalid_argument("{}: not a regular file", path);
  const auto size = static_cast<size_t>(info.st_size);
  std::string state = fmt::format("{}:{} at {}.{:09}", info.st_dev, info.st_ino,
                                  info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
  if (size == 0) return MappedFile({}, std::move(state));
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) return system_error(path, "map");
  MappedFile file({static_cast<const std::byte*>(address), size}, std::move(state));
  if (is_lfs_pointer({reinterpret_cast<const char*>(file.bytes().data()), size})) {
    return error(StatusCode::kNotFound, "{}: {}", path, kLfsPointer);
  }
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), state_(std::move(other.state_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(state_, other.state_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace dsa
