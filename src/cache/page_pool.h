// The memory of both caches: a fixed number of pages of 64 tokens, shared by all sequences.
//
// A page number stands for the same tokens in every layer: the latent rows of layer l and, where
// the layer's indexer runs, its indexer keys.
//
// Thread safety   one thread at a time changes it; reads of page memory need no lock.
// Invariants
//   1. All memory is allocated by create(). Pages never written take no physical memory.
//   2. A page is free exactly when no sequence holds it: holders == 0.
//   3. acquire() either gives all the pages asked for or changes nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/status.h"

#include "formats/cache_layout.h"
#include "runtime/aligned_buffer.h"

namespace dsa {

struct PagePoolOptions {
  LatentLayout latent;
  IndexKeyLayout index;
  int64_t n_layers = 0;
  std::vector<bool> has_index;  // [n_layers] the layer stores indexer keys
  int64_t n_pages = 0;
  bool resident = false;  // has its memory from the beginning
};

class PagePool {
 public:
  static Result<PagePool> create(const PagePoolOptions& options);

  //   Errors  kResourceExhausted: fewer than n pages are free.
  Status acquire(int64_t n, std::vector<int32_t>* pages);
  void share(int32_t page);    // one more holder
  void release(int32_t page);  // one holder less; the last one frees it
  int32_t holders(int32_t page) const { return holders_[static_cast<size_t>(page)]; }

  // Copies all layers of a page.
  void copy_page(int32_t from, int32_t to);

  // A page's bytes outside of the pool: layer by layer its latent rows, then its indexer keys.
  size_t page_bytes() const { return page_bytes_; }
  void export_page(int32_t page, uint8_t* bytes) const;
  void import_page(int32_t page, const uint8_t* bytes);

  uint8_t* latent(int64_t layer) const;  // [n_pages * 64 rows]
  uint8_t* index(int64_t layer) const;   // [n_pages pages]; only where has_index
  const LatentLayout& latent_layout() const { return options_.latent; }
  const IndexKeyLayout& index_layout() const { return options_.index; }

  int64_t n_pages() const { return options_.n_pages; }
  int64_t n_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t latent_bytes() const { return static_cast<int64_t>(latent_memory_.size()); }
  int64_t index_bytes() const { return static_cast<int64_t>(index_memory_.size()); }

 private:
  PagePool() = default;

  // fn(first byte, bytes) for each stretch of memory that belongs to the page.
  template <class Fn>
  void for_each_part(int32_t page, Fn fn) const;

  PagePoolOptions options_;
  AlignedBuffer latent_memory_;
  AlignedBuffer index_memory_;
  std::vector<size_t> index_offset_;  // [n_layers] of a layer's indexer keys
  size_t page_bytes_ = 0;
  std::vector<int32_t> holders_;  // [n_pages]
  std::vector<int32_t> free_;     // the next page to give is the last
};

}  // namespace dsa
