// A file that appears whole or not at all: written under a temporary name, synced, renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "dsa/status.h"

namespace dsa {

// Invariants  1. `path` is untouched until commit() replaces it.
//             2. without a commit() that succeeded, the destructor leaves nothing behind.
class AtomicFile {
 public:
  // Errors  kIoError
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept
      : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), end_(other.end_) {}
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  Status append(std::span<const std::byte> bytes);
  // Overwrites bytes that are there.
  Status write_at(uint64_t offset, std::span<const std::byte> bytes);
  Status commit();

 private:
  AtomicFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string temporary() const;

  std::string path_;
  int fd_;  // -1: committed or moved from
  uint64_t end_ = 0;
};

// Errors of all  kIoError: path and the system's reason
Status write_file(const std::string& path, std::string_view text);

// Makes the entries of a folder durable.
Status sync_folder(const std::string& path);

}  // namespace dsa
