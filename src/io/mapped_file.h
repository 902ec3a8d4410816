// A whole file, mapped read-only. Pages are read when touched and can be dropped again by the
// system, so opening costs neither time nor memory in proportion to the file.
//
// Thread safety  bytes() may be read from any thread.
// A file that another process truncates while it is mapped raises SIGBUS on access: do not rewrite
// a checkpoint in place under a running engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "dsa/status.h"

namespace dsa {

class MappedFile {
 public:
  // Errors  kNotFound (no such file, or a Git LFS pointer to it), kInvalidArgument (a directory or
  // device), kIoError. The
  //         message has the path and the system's reason.
  static Result<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  // Starts on a page boundary; empty for an empty file. Valid as long as this object.
  std::span<const std::byte> bytes() const { return bytes_; }

  // Which state of which file was opened: device, inode and the time of the last change, which
  // unlike the time of modification nobody can set back.
  const std::string& state() const { return state_; }

 private:
  MappedFile(std::span<const std::byte> bytes, std::string state)
      : bytes_(bytes), state_(std::move(state)) {}

  std::span<const std::byte> bytes_;
  std::string state_;
};

}  // namespace dsa
