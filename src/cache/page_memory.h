// The memory of a cache's pages: every plane's part of every page. Which pages are in use is not
// its business (cache/page_numbers.h).
//
// Page numbers are below n_pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dsa/status.h"

#include "cache/plane.h"

namespace dsa {

class PageMemory {
 public:
  virtual ~PageMemory() = default;

  // A page's bytes in any memory: plane by plane, in the order the planes were given in.
  virtual size_t page_bytes() const = 0;
  virtual void copy_page(int32_t from, int32_t to) = 0;
  virtual void export_page(int32_t page, uint8_t* bytes) const = 0;
  virtual void import_page(int32_t page, const uint8_t* bytes) = 0;

  virtual PlaneView plane(size_t index) const = 0;  // in the memory of the device
};

// In the machine's memory.
// Invariants
//   1. All of it is allocated by this call. Pages never written take no physical memory, unless
//      `resident` asks for it at once.
//   Errors  kResourceExhausted.
Result<std::unique_ptr<PageMemory>> make_host_memory(std::span<const Plane> planes,
                                                     int64_t n_pages,
                                                     bool resident);

}  // namespace dsa
