// The pages of one sequence: which tokens it holds, where they lie.
//
// Invariants
//   1. Token t lies in row pages()[t / 64] * 64 + t % 64 of every layer.
//   2. A page with more than one holder is never written: reserve() replaces a shared last page by
//      a copy before tokens are added to it.
//   3. length() counts tokens whose cache rows are complete; reserve() does not change it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/status.h"

#include "cache/page_pool.h"

namespace dsa {

class SequencePages;

// A sequence and how many tokens are to be added to it.
struct Growth {
  SequencePages* sequence = nullptr;
  int64_t n = 0;
};

class SequencePages {
 public:
  // Pages that reserve(n) would take from the pool.
  int64_t pages_needed(const PagePool& pool, int64_t n) const;

  // Makes room for n more tokens.
  //   Errors  kResourceExhausted: the pool has too few pages; nothing has changed.
  Status reserve(PagePool* pool, int64_t n);

  // The n tokens after length() are stored.
  void commit(int64_t n) { length_ += n; }

  // Gives back pages beyond length(): undoes a reserve().
  void trim(PagePool* pool);

  // Appends a page that others hold too; its first n tokens (1 to 64) are the next ones. length()
  // is a multiple of 64.
  void append_page(PagePool* pool, int32_t page, int64_t n);

  // Shares every page of this sequence with a new one.
  SequencePages fork(PagePool* pool) const;

  void release(PagePool* pool);

  int64_t length() const { return length_; }
  std::span<const int32_t> pages() const { return pages_; }

 private:
  friend int64_t pages_needed(const PagePool& pool, std::span<const Growth> batch);

  int64_t new_pages(int64_t n) const;  // without a copy
  // The page that the next token falls into, begun and held by others too; -1: there is none.
  int32_t page_to_copy(const PagePool& pool) const;

  std::vector<int32_t> pages_;
  int64_t length_ = 0;
};

// Of different sequences, which may share their last pages: the last holder of a page needs no
// copy.
int64_t pages_needed(const PagePool& pool, std::span<const Growth> batch);

// reserve() for each sequence, or for none.
//   Errors  kResourceExhausted.
Status reserve(PagePool* pool, std::span<const Growth> batch);

// Physical row of token t.
inline int32_t cache_row(std::span<const int32_t> pages, int64_t token) {
  constexpr int64_t kTokens = kPageTokens;
  return pages[static_cast<size_t>(token / kTokens)] * static_cast<int32_t>(kTokens) +
         static_cast<int32_t>(token % kTokens);
}

}  // namespace dsa
