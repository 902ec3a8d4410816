// Which pages are in use, and by how many: bookkeeping without the pages' memory.
//
// Invariants
//   1. A page is free exactly when nobody holds it: holders == 0.
//   2. acquire() either gives all the pages asked for or changes nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "dsa/status.h"

namespace dsa {

class PageNumbers {
 public:
  PageNumbers() = default;
  explicit PageNumbers(int64_t n_pages);

  // Appends n free pages, each with one holder from now on.
  //   Errors  kResourceExhausted: fewer are free.
  Status acquire(int64_t n, std::vector<int32_t>* pages);
  void share(int32_t page);    // one more holder
  void release(int32_t page);  // one holder less; the last one frees it
  int32_t holders(int32_t page) const { return holders_[static_cast<size_t>(page)]; }

  int64_t n_pages() const { return static_cast<int64_t>(holders_.size()); }
  int64_t n_free() const { return static_cast<int64_t>(free_.size()); }

 private:
  std::vector<int32_t> holders_;  // [n_pages]
  std::vector<int32_t> free_;     // the next page to give is the last
};

}  // namespace dsa
