// One page in one file of a disk cache.
//
//   "dsapage1" | key, 32 bytes | SHA-256 of key and content, 32 bytes | u64 bytes of content |
//   content
//
// The content is the page's part of every plane, in the order of the planes (cache/page_memory.h).
//
// A file is written under another name and renamed, so that it is there whole or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "cache/page_key.h"

namespace dsa {

inline constexpr int64_t kPageFileHeaderBytes = 80;

// "<64 hexadecimal digits>.page"
std::string page_file_name(const PageKey& key);
std::optional<PageKey> parse_page_file_name(std::string_view name);

// Ends the name of a file that is being written.
inline constexpr std::string_view kUnfinishedSuffix = ".part";

//   Errors  kIoError, with the system's reason; the file is not there then.
Status write_page_file(const std::string& folder,
                       const PageKey& key,
                       std::span<const uint8_t> content);

//   Errors  kNotFound; kIoError; kCorruption: not what was written under this key, or another size.
Status read_page_file(const std::string& folder, const PageKey& key, std::span<uint8_t> content);

// The same whatever its size is.   Gives   bytes of the content.
Result<int64_t> check_page_file(const std::string& folder, const PageKey& key);

// A page file in a folder, unread.
struct PageFile {
  PageKey key;
  int64_t bytes = 0;    // of the file
  int64_t used_ns = 0;  // time of change: since 1970, of the last use
};

// The page files in `folder`, in no order. Names that are not those of page files are passed over.
//   Errors  kNotFound, kIoError.
Result<std::vector<PageFile>> scan_page_files(const std::string& folder);

}  // namespace dsa
