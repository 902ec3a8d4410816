// Copies into a folder that is committed as a whole: its files must be synced before.
#pragma once

#include <string>

#include "common/status_macros.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"

namespace dsa {

// Errors  those of MappedFile::open() and write_file()
inline Status copy_file(const std::string& from, const std::string& to) {
  DSA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(from));
  const auto bytes = file.bytes();
  return write_file(to, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace dsa
