#include "cache/page_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "common/status_macros.h"

namespace dsa {

namespace {

constexpr std::string_view kMagic = "dsapage1";
constexpr std::string_view kSuffix = ".page";

struct Header {
  char magic[8];
  PageKey key;
  Digest checksum;
  uint64_t n_bytes;
};
static_assert(sizeof(Header) == kPageFileHeaderBytes);

Status system_error(const std::string& path, const char* action) {
  const int reason = errno;
  return error(reason == ENOENT ? StatusCode::kNotFound : StatusCode::kIoError, "{}: cannot {}: {}",
               path, action, std::strerror(reason));
}

// A descriptor that is closed on every way out.
struct Descriptor {
  explicit Descriptor(int number) : fd(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

Sha256 checksum_of(const PageKey& key) {
  Sha256 hash;
  hash.add(std::span<const uint8_t>(key));
  return hash;
}

bool write_all(int fd, const void* data, size_t n) {
  const char* at = static_cast<const char*>(data);
  while (n > 0) {
    const ssize_t done = ::write(fd, at, n);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return false;
    at += done;
    n -= static_cast<size_t>(done);
  }
  return true;
}

// Fewer than n only at the end of the file.
ssize_t read_all(int fd, void* data, size_t n) {
  char* const begin = static_cast<char*>(data);
  size_t got = 0;
  while (got < n) {
    const ssize_t done = ::read(fd, begin + got, n - got);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return -1;
    if (done == 0) break;
    got += static_cast<size_t>(done);
  }
  return static_cast<ssize_t>(got);
}

Status check_header(const std::string& path, const PageKey& key, int64_t bytes, const Header& h) {
  if (bytes < kPageFileHeaderBytes || std::string_view(h.magic, 8) != kMagic) {
    return corruption("{}: not a page file", path);
  }
  if (h.key != key) return corruption("{}: holds page {}", path, to_hex(h.key));
  if (h.n_bytes == static_cast<uint64_t>(bytes - kPageFileHeaderBytes)) return {};
  return corruption("{}: {} bytes, want {} and a header of {}", path, bytes, h.n_bytes,
                    kPageFileHeaderBytes);
}

struct OpenPage {
  std::unique_ptr<Descriptor> file;
  Header header = {};
};

// The file at its content, whose header is in order.
Result<OpenPage> open_page(const std::string& path, const PageKey& key) {
  OpenPage page;
  page.file = std::make_unique<Descriptor>(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (page.file->fd < 0) return system_error(path, "open");
  struct stat info = {};
  if (::fstat(page.file->fd, &info) != 0) return system_error(path, "stat");
  const ssize_t got = read_all(page.file->fd, &page.header, sizeof(page.header));
  if (got < 0) return system_error(path, "read");
  DSA_RETURN_IF_ERROR(
      check_header(path, key, std::min<int64_t>(info.st_size, INT64_MAX), page.header));
  return page;
}

Status check_checksum(const std::string& path, const OpenPage& page, Sha256* content) {
  if (content->finish() == page.header.checksum) return {};
  return corruption("{}: its checksum does not match", path);
}

}  // namespace

std::string page_file_name(const PageKey& key) {
  return to_hex(key) + std::string(kSuffix);
}

std::optional<PageKey> parse_page_file_name(std::string_view name) {
  PageKey key = {};
  if (name.size() != 2 * key.size() + kSuffix.size()) return std::nullopt;
  if (name.substr(2 * key.size()) != kSuffix) return std::nullopt;
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (size_t i = 0; i < 2 * key.size(); ++i) {
    const size_t digit = kDigits.find(name[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    key[i / 2] = static_cast<uint8_t>(size_t{key[i / 2]} << 4 | digit);
  }
  return key;
}

Status write_page_file(const std::string& folder,
                       const PageKey& key,
                       std::span<const uint8_t> content) {
  Header header = {};
  std::copy(kMagic.begin(), kMagic.end(), header.magic);
  header.key = key;
  Sha256 hash = checksum_of(key);
  hash.add(content);
  header.checksum = hash.finish();
  header.n_bytes = content.size();
  const std::string path = folder + "/" + page_file_name(key);
  const std::string unfinished = path + std::string(kUnfinishedSuffix);
  Status status;
  {
    // Read by nobody else: pages say something about the prompts they were computed from.
    const Descriptor file(
        ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.fd < 0) return system_error(unfinished, "create");
    if (!write_all(file.fd, &header, sizeof(header)) ||
        !write_all(file.fd, content.data(), content.size())) {
      status = system_error(unfinished, "write");
    }
  }
  if (status.ok() && ::rename(unfinished.c_str(), path.c_str()) != 0) {
    status = system_error(path, "rename");
  }
  if (!status.ok()) ::unlink(unfinished.c_str());
  return status;
}

Status read_page_file(const std::string& folder, const PageKey& key, std::span<uint8_t> content) {
  const std::string path = folder + "/" + page_file_name(key);
  DSA_ASSIGN_OR_RETURN(const OpenPage page, open_page(path, key));
  if (page.header.n_bytes != content.size()) {
    return corruption("{}: a page of {} bytes, want {}", path, page.header.n_bytes, content.size());
  }
  const ssize_t got = read_all(page.file->fd, content.data(), content.size());
  if (got < 0) return system_error(path, "read");
  Sha256 hash = checksum_of(key);
  hash.add(content.first(static_cast<size_t>(got)));
  return check_checksum(path, page, &hash);
}

Result<int64_t> check_page_file(const std::string& folder, const PageKey& key) {
  const std::string path = folder + "/" + page_file_name(key);
  DSA_ASSIGN_OR_RETURN(const OpenPage page, open_page(path, key));
  std::vector<uint8_t> part(size_t{1} << 20);
  Sha256 hash = checksum_of(key);
  int64_t n_bytes = 0;
  ssize_t got = 0;
  while ((got = read_all(page.file->fd, part.data(), part.size())) > 0) {
    hash.add(std::span<const uint8_t>(part).first(static_cast<size_t>(got)));
    n_bytes += got;
  }
  if (got < 0) return system_error(path, "read");
  DSA_RETURN_IF_ERROR(check_checksum(path, page, &hash));
  return n_bytes;
}

Result<std::vector<PageFile>> scan_page_files(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  if (dir == nullptr) return system_error(folder, "open");
  std::vector<PageFile> files;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::optional<PageKey> key = parse_page_file_name(entry->d_name);
    struct stat info = {};
    if (!key || ::fstatat(::dirfd(dir.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(info.st_mode)) {
      continue;
    }
    files.push_back(
        {*key, info.st_size, int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec});
  }
  return files;
}

}  // namespace dsa
