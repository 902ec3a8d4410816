#include "cache/sequence.h"

#include "common/status_macros.h"

namespace dsa {

namespace {

constexpr int64_t kTokens = kPageTokens;

}  // namespace

bool SequencePages::must_copy_last(const PagePool& pool) const {
  return length_ % kTokens != 0 && pool.holders(pages_[static_cast<size_t>(length_ / kTokens)]) > 1;
}

int64_t SequencePages::pages_needed(const PagePool& pool, int64_t n) const {
  const auto held = static_cast<int64_t>(pages_.size());
  const int64_t wanted = ceil_div(length_ + n, kTokens);
  const int64_t copies = n > 0 && must_copy_last(pool) ? 1 : 0;
  return (wanted > held ? wanted - held : 0) + copies;
}

Status SequencePages::reserve(PagePool* pool, int64_t n) {
  std::vector<int32_t> fresh;
  DSA_RETURN_IF_ERROR(pool->acquire(pages_needed(*pool, n), &fresh));
  if (n > 0 && must_copy_last(*pool)) {
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

}  // namespace dsa
