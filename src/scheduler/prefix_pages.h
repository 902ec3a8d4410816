// The pages of an engine beyond the sequences that run: prefixes kept for requests to come, first
// in the pool, then on disk.
//
// Thread safety   one thread at a time, the engine's.
// Invariants
//   1. The engine's pages are free, held by sequences, or in the prefix cache; unused ones of the
//      cache can be had at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dsa/engine.h"
#include "dsa/forward.h"
#include "dsa/scheduler.h"

#include "cache/disk_tier.h"
#include "cache/prefix_cache.h"

namespace dsa::scheduler {

class PrefixPages {
 public:
  // disk: null for none. The engine outlives the object.
  PrefixPages(Engine* engine, std::unique_ptr<DiskTier> disk);

  enum class Source : uint8_t { kPool, kPoolAndDisk };

  // Appends the page to a sequence of whole pages, as one of its users; false when it is not to be
  // had. Reading it from disk leaves n_reserved pages free.
  bool attach(SequenceId sequence, const PageKey& key, Source source, int64_t n_reserved);

  // The sequence has computed this page of its tokens: keeps it, with the sequence as a user.
  void keep(SequenceId sequence, int64_t index, const PageKey& key);

  // One user less. Pages of a prefix are given back last to first.
  void leave(const PageKey& key) { cache_.unuse(key); }

  bool in_use(const PageKey& key) const { return cache_.in_use(key); }

  // Sees to it that n pages are free; false when not so many can be had.
  bool make_room(int64_t n);
  int64_t n_available() const;  // pages that make_room() could free, and free ones

  void save();   // hands every page to the disk that is not there
  void flush();  // waits until what the disk was handed is written

  void add_to(SchedulerStats* stats) const;  // but for the disk's
  DiskCacheStats disk_stats() const;         // any thread

 private:
  bool load(const PageKey& key, int64_t n_reserved);  // from disk into the cache
  void save_page(const PageKey& key, PageId page);

  Engine* engine_;
  std::unique_ptr<DiskTier> disk_;
  PrefixCache cache_;
  std::vector<uint8_t> bytes_;  // of a page read
  int64_t n_evictions_ = 0;
};

}  // namespace dsa::scheduler
