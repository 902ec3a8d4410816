// A folder that appears whole or not at all: filled under a temporary name, synced, renamed.
#pragma once

#include <string>
#include <utility>

#include "dsa/status.h"

namespace dsa {

// Invariant  without a commit() that succeeded, the destructor removes what was written.
class AtomicFolder {
 public:
  // Errors  kInvalidArgument: something is at `path`; kIoError
  static Result<AtomicFolder> create(const std::string& path);

  AtomicFolder(AtomicFolder&& other) noexcept
      : path_(std::move(other.path_)), pending_(std::exchange(other.pending_, false)) {}
  AtomicFolder& operator=(AtomicFolder&&) = delete;
  ~AtomicFolder();

  std::string folder() const;                       // to fill, until commit()
  std::string file(const std::string& name) const;  // a path in it
  // Files must be synced already.   Errors  kIoError
  Status commit();

 private:
  explicit AtomicFolder(std::string path) : path_(std::move(path)), pending_(true) {}

  std::string path_;
  bool pending_;
};

}  // namespace dsa
