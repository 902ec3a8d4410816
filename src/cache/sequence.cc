#include "cache/sequence.h"

#include <algorithm>

#include "common/status_macros.h"

namespace dsa {

namespace {

constexpr int64_t kTokens = kPageTokens;

}  // namespace

int32_t SequencePages::page_to_copy(const PagePool& pool) const {
  if (length_ % kTokens == 0) return -1;
  const int32_t last = pages_[static_cast<size_t>(length_ / kTokens)];
  return pool.holders(last) > 1 ? last : -1;
}

int64_t SequencePages::new_pages(int64_t n) const {
  return std::max<int64_t>(ceil_div(length_ + n, kTokens) - static_cast<int64_t>(pages_.size()), 0);
}

int64_t SequencePages::pages_needed(const PagePool& pool, int64_t n) const {
  return new_pages(n) + (n > 0 && page_to_copy(pool) >= 0 ? 1 : 0);
}

Status SequencePages::reserve(PagePool* pool, int64_t n) {
  std::vector<int32_t> fresh;
  DSA_RETURN_IF_ERROR(pool->acquire(pages_needed(*pool, n), &fresh));
  if (n > 0 && page_to_copy(*pool) >= 0) {
    int32_t& last = pages_[static_cast<size_t>(length_ / kTokens)];
    pool->copy_page(last, fresh.back());
    pool->release(last);
    last = fresh.back();
    fresh.pop_back();
  }
  pages_.insert(pages_.end(), fresh.begin(), fresh.end());
  return {};
}

void SequencePages::trim(PagePool* pool) {
  const auto wanted = static_cast<size_t>(ceil_div(length_, kTokens));
  while (pages_.size() > wanted) {
    pool->release(pages_.back());
    pages_.pop_back();
  }
}

void SequencePages::append_page(PagePool* pool, int32_t page, int64_t n) {
  trim(pool);
  pool->share(page);
  pages_.push_back(page);
  length_ += n;
}

SequencePages SequencePages::fork(PagePool* pool) const {
  SequencePages copy = *this;
  copy.pages_.resize(static_cast<size_t>(ceil_div(length_, kTokens)));
  for (const int32_t page : copy.pages_)
    pool->share(page);
  return copy;
}

void SequencePages::release(PagePool* pool) {
  for (const int32_t page : pages_)
    pool->release(page);
  pages_.clear();
  length_ = 0;
}

int64_t pages_needed(const PagePool& pool, std::span<const Growth> batch) {
  int64_t needed = 0;
  std::vector<int32_t> shared;  // pages to be copied, once for each sequence that would write
  for (const Growth& growth : batch) {
    if (growth.n == 0) continue;
    needed += growth.sequence->new_pages(growth.n);
    const int32_t page = growth.sequence->page_to_copy(pool);
    if (page >= 0) shared.push_back(page);
  }
  std::sort(shared.begin(), shared.end());
  for (auto first = shared.begin(); first != shared.end();) {
    const auto last = std::upper_bound(first, shared.end(), *first);
    // Each copy is one holder less; who is left alone writes in place.
    needed += std::min<int64_t>(last - first, pool.holders(*first) - 1);
    first = last;
  }
  return needed;
}

Status reserve(PagePool* pool, std::span<const Growth> batch) {
  const int64_t needed = pages_needed(*pool, batch);
  if (needed > pool->n_free()) {
    return error(StatusCode::kResourceExhausted,
                 "page pool: {} pages of {} tokens free of {}, the batch wants {} more",
                 pool->n_free(), kTokens, pool->n_pages(), needed);
  }
  for (const Growth& growth : batch)
    DSA_RETURN_IF_ERROR(growth.sequence->reserve(pool, growth.n));
  return {};
}

}  // namespace dsa
