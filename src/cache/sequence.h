// The pages of one sequence: which tokens it holds, where they lie.
//
// Invariants, P being the tokens of a page
//   1. Token t lies in slot t % P of page pages()[t / P], in every plane.
//   2. A page with more than one holder is never written: reserve() replaces a shared last page by
//      a copy before tokens are added to it.
//   3. length() counts tokens whose entries are complete; reserve() does not change it.
//   4. The sequence's state, where there are planes of states, is in the page of its last token;
//      every page before holds the state at its own end.
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

  // Drops the tokens from `length` on, and the pages that only they lay in.
  //   Errors  kInvalidArgument: length, want 0 to length(); kUnsupported: planes of states have
  //           none there, but at the ends of pages and at length(). Nothing has changed.
  Status truncate(PagePool* pool, int64_t length);

  // Appends a page that others hold too; its first n tokens (1 to P) are the next ones. length() is
  // a multiple of P.
  //   Errors  kUnsupported: n is not P, and planes of states have none there.
  Status append_page(PagePool* pool, int32_t page, int64_t n);

  // Shares every page of this sequence with a new one.
  SequencePages fork(PagePool* pool) const;

  void release(PagePool* pool);

  int64_t length() const { return length_; }
  std::span<const int32_t> pages() const { return pages_; }

 private:
  friend int64_t pages_needed(const PagePool& pool, std::span<const Growth> batch);

  int64_t new_pages(const PagePool& pool, int64_t n) const;  // without a copy
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

// Where a token lies in planes with an entry for each: page number * P + slot.
inline int32_t cache_row(PageSize page, std::span<const int32_t> pages, int64_t token) {
  const auto t = static_cast<size_t>(token);
  const auto number = static_cast<size_t>(pages[page.page(t)]);
  return static_cast<int32_t>((number << page.log2) + page.slot(t));
}

// The page whose states are those after `length` tokens, 1 or more. Before the first token a state
// is what its layer says; the page of token `length` is where the next one is written.
inline int32_t state_page(PageSize page, std::span<const int32_t> pages, int64_t length) {
  return pages[page.page(static_cast<size_t>(length - 1))];
}

}  // namespace dsa
