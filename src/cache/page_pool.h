// The cache of an engine: a fixed number of pages, shared by all sequences.
//
// A page number stands for the same tokens in every plane (cache/plane.h).
//
// Thread safety   one thread at a time changes it; reads of page memory need no lock.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dsa/status.h"

#include "cache/page_memory.h"
#include "cache/page_numbers.h"
#include "cache/plane.h"
#include "formats/cache_layout.h"

namespace dsa {

// Pages hold this many tokens at least and at most.
inline constexpr int64_t kMinPageTokens = 16;
inline constexpr int64_t kMaxPageTokens = 4096;

struct PagePoolOptions {
  std::vector<Plane> planes;
  int64_t page_tokens = kDefaultPageTokens;  // a power of two
  int64_t n_pages = 0;
  bool resident = false;  // has its memory from the beginning
};

class PagePool {
 public:
  //   Errors  kInvalidArgument (a size, a plane that does not fit pages of this size),
  //           kResourceExhausted (the memory cannot be had).
  static Result<PagePool> create(const PagePoolOptions& options);

  PageNumbers& numbers() { return numbers_; }
  const PageNumbers& numbers() const { return numbers_; }
  PageMemory& memory() { return *memory_; }
  const PageMemory& memory() const { return *memory_; }

  PageSize page() const { return page_; }
  int64_t n_tokens() const;  // that all pages hold
  bool has_state() const { return has_state_; }

  // Which of the planes it is; nothing where the layer keeps no such plane.
  std::optional<size_t> find(int64_t layer, std::string_view name) const;
  PlaneView plane(size_t index) const { return memory_->plane(index); }
  // Its view, or one without memory where the layer keeps no such plane.
  PlaneView plane(int64_t layer, std::string_view name) const;
  int64_t bytes_of(std::string_view name) const;  // of all planes of that name

 private:
  PagePool() = default;

  std::vector<Plane> planes_;
  PageSize page_;
  bool has_state_ = false;
  PageNumbers numbers_;
  std::unique_ptr<PageMemory> memory_;
};

}  // namespace dsa
