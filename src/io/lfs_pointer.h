// Git LFS keeps large files elsewhere; where they were not fetched, a short text lies in their
// place.
#pragma once

#include <string_view>

namespace dsa {

// Whether a file with this content stands for another one.
inline bool is_lfs_pointer(std::string_view content) {
  constexpr size_t kMostBytes = 1024;  // the format's own limit
  return content.size() < kMostBytes &&
         content.starts_with("version https://git-lfs.github.com/spec/");
}

inline constexpr const char* kLfsPointer =
    "a Git LFS pointer, want the file it stands for (`git lfs pull`)";

}  // namespace dsa
