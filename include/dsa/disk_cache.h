// Looking after the directory of a disk cache (SchedulerOptions::disk), whether it is in use or
// not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dsa/status.h"

namespace dsa {

// The pages of one checkpoint run with the same options.
struct DiskCacheEntry {
  std::string identity;     // 64 hexadecimal digits; the name of its folder
  std::string description;  // of checkpoint and options; empty where it cannot be read
  int64_t n_pages = 0;      // of 64 tokens each
  int64_t bytes = 0;
  int64_t last_used = 0;  // seconds since 1970, of the page used last
};

// Every identity in `dir`, by name.
//   Errors  kNotFound (no such directory), kIoError.
Result<std::vector<DiskCacheEntry>> list_disk_cache(const std::string& dir);

struct DiskCacheVerification {
  int64_t n_pages = 0;           // read and found as written
  int64_t bytes = 0;             // of them
  std::vector<std::string> bad;  // files that are not, each with what is wrong
};

// Reads every page of every identity. A bad page is harmless: it would be found so and deleted when
// it was asked for.
//   Errors  as above.
Result<DiskCacheVerification> verify_disk_cache(const std::string& dir);

// Deletes the pages of one identity, or of all when it is empty, and nothing else that may lie in
// `dir`. A scheduler that uses the directory merely misses what is gone.
//   Gives   bytes freed.
//   Errors  as above; kNotFound: no such identity.
Result<int64_t> purge_disk_cache(const std::string& dir, const std::string& identity);

}  // namespace dsa
