#include "cache/sequence.h"

#include <algorithm>

#include "common/status_macros.h"

namespace dsa {

namespace {

size_t pages_of(const PagePool& pool, int64_t n_tokens) {
  return pool.page().pages(static_cast<size_t>(n_tokens));
}

bool ends_page(const PagePool& pool, int64_t length) {
  return pool.page().slot(static_cast<size_t>(length)) == 0;
}

}  // namespace

int32_t SequencePages::page_to_copy(const PagePool& pool) const {
  if (ends_page(pool, length_)) return -1;
  const int32_t last = pages_[pages_of(pool, length_) - 1];
  return pool.numbers().holders(last) > 1 ? last : -1;
}

int64_t SequencePages::new_pages(const PagePool& pool, int64_t n) const {
  const size_t wanted = pages_of(pool, length_ + n);
  return wanted > pages_.size() ? static_cast<int64_t>(wanted - pages_.size()) : 0;
}

int64_t SequencePages::pages_needed(const PagePool& pool, int64_t n) const {
  return new_pages(pool, n) + (n > 0 && page_to_copy(pool) >= 0 ? 1 : 0);
}

Status SequencePages::reserve(PagePool* pool, int64_t n) {
  PageNumbers& numbers = pool->numbers();
  std::vector<int32_t> fresh;
  DSA_RETURN_IF_ERROR(numbers.acquire(pages_needed(*pool, n), &fresh));
  if (n > 0 && page_to_copy(*pool) >= 0) {
    int32_t& last = pages_[pages_of(*pool, length_) - 1];
    pool->memory().copy_page(last, fresh.back());
    numbers.release(last);
    last = fresh.back();
    fresh.pop_back();
  }
  pages_.insert(pages_.end(), fresh.begin(), fresh.end());
  return {};
}

void SequencePages::trim(PagePool* pool) {
  const size_t wanted = pages_of(*pool, length_);
  while (pages_.size() > wanted) {
    pool->numbers().release(pages_.back());
    pages_.pop_back();
  }
}

Status SequencePages::truncate(PagePool* pool, int64_t length) {
  if (length < 0 || length > length_) {
    return invalid_argument("length: {}, want 0 to {}", length, length_);
  }
  if (pool->has_state() && length != length_ && !ends_page(*pool, length)) {
    return unsupported("length: {}, want {} or a multiple of {}: states are kept there alone",
                       length, length_, pool->page().tokens());
  }
  length_ = length;
  trim(pool);
  return {};
}

Status SequencePages::append_page(PagePool* pool, int32_t page, int64_t n) {
  if (pool->has_state() && !ends_page(*pool, n)) {
    return unsupported("n_tokens: {}, want {}: states are kept at the end of a page alone", n,
                       pool->page().tokens());
  }
  trim(pool);
  pool->numbers().share(page);
  pages_.push_back(page);
  length_ += n;
  return {};
}

SequencePages SequencePages::fork(PagePool* pool) const {
  SequencePages copy = *this;
  copy.pages_.resize(pages_of(*pool, length_));
  for (const int32_t page : copy.pages_)
    pool->numbers().share(page);
  return copy;
}

void SequencePages::release(PagePool* pool) {
  for (const int32_t page : pages_)
    pool->numbers().release(page);
  pages_.clear();
  length_ = 0;
}

int64_t pages_needed(const PagePool& pool, std::span<const Growth> batch) {
  int64_t needed = 0;
  std::vector<int32_t> shared;  // pages to be copied, once for each sequence that would write
  for (const Growth& growth : batch) {
    if (growth.n == 0) continue;
    needed += growth.sequence->new_pages(pool, growth.n);
    const int32_t page = growth.sequence->page_to_copy(pool);
    if (page >= 0) shared.push_back(page);
  }
  std::sort(shared.begin(), shared.end());
  for (auto first = shared.begin(); first != shared.end();) {
    const auto last = std::upper_bound(first, shared.end(), *first);
    // Each copy is one holder less; who is left alone writes in place.
    needed += std::min<int64_t>(last - first, pool.numbers().holders(*first) - 1);
    first = last;
  }
  return needed;
}

Status reserve(PagePool* pool, std::span<const Growth> batch) {
  const int64_t needed = pages_needed(*pool, batch);
  const PageNumbers& numbers = pool->numbers();
  if (needed > numbers.n_free()) {
    return error(StatusCode::kResourceExhausted,
                 "page pool: {} pages of {} tokens free of {}, the batch wants {} more",
                 numbers.n_free(), pool->page().tokens(), numbers.n_pages(), needed);
  }
  for (const Growth& growth : batch)
    DSA_RETURN_IF_ERROR(growth.sequence->reserve(pool, growth.n));
  return {};
}

}  // namespace dsa
