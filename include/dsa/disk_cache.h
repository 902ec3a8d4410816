// The disk cache of a scheduler (SchedulerOptions::disk): its options and counts; listing,
// verifying and purging its directory, also while a scheduler uses it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dsa/status.h"
#include "dsa/types.h"

#pragma GCC visibility push(default)

namespace dsa {

struct DiskCacheOptions {
  std::string dir{};                               // empty: no cache on disk
  int64_t max_bytes = int64_t{10} << 30;           // of all its files; the oldest go first
  int64_t max_pending_bytes = int64_t{256} << 20;  // copies of pages that wait to be written
};

struct DiskCacheStats {
  int64_t n_pages = 0;  // of this checkpoint and these options
  int64_t bytes = 0;    // of all files, those of others too
  int64_t hits = 0;     // pages read
  int64_t misses = 0;   // pages looked up and not found
  int64_t writes = 0;
  int64_t evictions = 0;
  int64_t errors = 0;   // reads or writes that failed, corrupt pages
  int64_t dropped = 0;  // not written: too many waited, or the disk had just failed
  int64_t pending_bytes = 0;
};

// The pages of one checkpoint run with the same options.
struct DiskCacheEntry {
  std::string identity;     // 64 hexadecimal digits; the name of its folder
  std::string description;  // of checkpoint and options; empty where it cannot be read
  int64_t n_pages = 0;
  int64_t page_tokens = kDefaultPageTokens;  // tokens of each page
  int64_t bytes = 0;
  int64_t last_used = 0;  // seconds since 1970, of the page used last
};

// Every identity in `dir`, by name.
//   Errors  kNotFound (no such directory), kIoError.
Result<std::vector<DiskCacheEntry>> list_disk_cache(const std::string& dir);

struct DiskCacheVerification {
  int64_t n_pages = 0;           // intact pages
  int64_t bytes = 0;             // of them
  std::vector<std::string> bad;  // files that are not, each with what is wrong
};

// Reads every page of every identity. A corrupt page is harmless: a scheduler that looks it up
// detects and deletes it.
//   Errors  as above.
Result<DiskCacheVerification> verify_disk_cache(const std::string& dir);

// Deletes the pages of one identity, or of all when it is empty, and nothing else that may lie in
// `dir`. For a scheduler that uses the directory, a deleted page is a cache miss.
//   Returns the bytes freed.
//   Errors  as above; kNotFound: no such identity.
Result<int64_t> purge_disk_cache(const std::string& dir, const std::string& identity);

}  // namespace dsa

#pragma GCC visibility pop
