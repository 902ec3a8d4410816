// Pages on disk: what the pool evicts, and what a process before this one had read.
//
//   dir/lock                     held by the process that uses the directory
//   dir/<identity>/about.txt     whose pages these are
//   dir/<identity>/<key>.page    cache/page_file.h
//
// There is no index that could disagree with the files: it is made from their names when the tier
// is opened. Times of change are times of use.
//
// Thread safety   any thread.
// Invariants
//   1. read() gives what write() was given under that key, or nothing.
//   2. Files of all identities together take at most max_bytes; the ones used longest ago go first.
//   3. At most max_pending_bytes wait to be written; what comes on top is dropped.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "dsa/disk_cache.h"
#include "dsa/status.h"

#include "cache/page_key.h"

namespace dsa {

class DiskTier {
 public:
  // identity: 64 hexadecimal digits, of everything that a page's bytes depend on besides its
  // tokens; description: of the same, for people, the text of about.txt (cache/disk_folders.h).
  //   Errors  kIoError (the directory cannot be made or written), kResourceExhausted (in use by
  //           another process).
  static Result<std::unique_ptr<DiskTier>> open(const DiskCacheOptions& options,
                                                const std::string& identity,
                                                const std::string& description,
                                                int64_t page_bytes);
  ~DiskTier();  // writes what waits
  DiskTier(const DiskTier&) = delete;
  DiskTier& operator=(const DiskTier&) = delete;

  bool contains(const PageKey& key) const;

  // Whether write() would take it: it is not there, and there is room among what waits.
  bool wants(const PageKey& key);

  // Room among what waits for one page more.
  bool has_room() const;

  // Returns at once; a thread of the tier writes.
  void write(const PageKey& key, std::vector<uint8_t> content);

  // False: it is not there, or not as it was written, and then it is there no longer.
  bool read(const PageKey& key, std::span<uint8_t> content);

  // Waits until nothing is left to write.
  void flush();

  DiskCacheStats stats() const;

 private:
  struct File {
    PageKey key;
    size_t folder = 0;  // index into folders_
    int64_t bytes = 0;
  };
  using Files = std::list<File>;  // the one used longest ago first
  using Content = std::shared_ptr<const std::vector<uint8_t>>;

  DiskTier(const DiskCacheOptions& options, int64_t page_bytes);
  Status lock();
  Status add_own_folder(const std::string& identity, const std::string& description);
  Status index_folders();
  void start();
  void run();                                                          // of the writing thread
  bool make_room(int64_t n_bytes, std::vector<std::string>* removed);  // paths to be unlinked
  void add(const File& file);                                          // as the one used last
  void drop(Files::iterator place);                                    // of a file that is gone
  bool present(const PageKey& key) const;
  bool room() const;

  const DiskCacheOptions options_;
  const int64_t file_bytes_;
  int lock_fd_ = -1;
  std::vector<std::string> folders_;  // paths; the first is this identity's

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // something waits, is written, or the end is wanted
  Files files_;
  std::unordered_map<PageKey, Files::iterator, PageKeyHash> by_key_;  // of this identity
  std::deque<PageKey> queue_;                                         // what waits, in its order
  std::unordered_map<PageKey, Content, PageKeyHash> pending_;  // and its content, until written
  std::chrono::steady_clock::time_point retry_;                // writes are dropped until then
  bool ending_ = false;
  DiskCacheStats stats_;
  std::thread writer_;
};

}  // namespace dsa
