#include "cache/page_numbers.h"

#include "common/status_macros.h"

namespace dsa {

PageNumbers::PageNumbers(int64_t n_pages) : holders_(static_cast<size_t>(n_pages), 0) {
  for (int64_t page = n_pages - 1; page >= 0; --page)
    free_.push_back(static_cast<int32_t>(page));
}

Status PageNumbers::acquire(int64_t n, std::vector<int32_t>* pages) {
  if (n > n_free()) {
    return error(StatusCode::kResourceExhausted, "page pool: {} pages free of {}, want {} more",
                 n_free(), n_pages(), n);
  }
  for (int64_t i = 0; i < n; ++i) {
    const int32_t page = free_.back();
    free_.pop_back();
    holders_[static_cast<size_t>(page)] = 1;
    pages->push_back(page);
  }
  return {};
}

void PageNumbers::share(int32_t page) {
  ++holders_[static_cast<size_t>(page)];
}

void PageNumbers::release(int32_t page) {
  if (--holders_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

}  // namespace dsa
