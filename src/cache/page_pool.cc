#include "cache/page_pool.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "common/status_macros.h"

namespace dsa {

namespace {

// Bytes of n_pages pages in n_layers layers.
Result<size_t> region_bytes(const char* what, size_t page_bytes, size_t n_layers, size_t n_pages) {
  const std::optional<uint64_t> layer = checked_mul(page_bytes, n_pages);
  const std::optional<uint64_t> all = layer ? checked_mul(*layer, n_layers) : std::nullopt;
  if (all && *all <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return *all;
  return error(StatusCode::kResourceExhausted,
               "{}: {} pages of {} bytes in {} layers do not fit in memory", what, n_pages,
               page_bytes, n_layers);
}

}  // namespace

Result<PagePool> PagePool::create(const PagePoolOptions& options) {
  constexpr int64_t kMaxPages = std::numeric_limits<int32_t>::max() / int64_t{kPageTokens};
  if (options.n_pages < 1 || options.n_pages > kMaxPages) {
    return invalid_argument("page pool: {} pages of 64 tokens, want 1 to {}", options.n_pages,
                            kMaxPages);
  }
  PagePool pool;
  pool.options_ = options;
  const auto n_pages = static_cast<size_t>(options.n_pages);
  size_t n_indexed = 0;
  for (const bool indexed : options.has_index) {
    pool.index_offset_.push_back(n_indexed * n_pages * options.index.page_bytes());
    n_indexed += indexed ? 1 : 0;
  }
  DSA_ASSIGN_OR_RETURN(const size_t latent_bytes,
                       region_bytes("latent cache", options.latent.page_bytes(),
                                    static_cast<size_t>(options.n_layers), n_pages));
  DSA_ASSIGN_OR_RETURN(
      const size_t index_bytes,
      region_bytes("indexer-key cache", options.index.page_bytes(), n_indexed, n_pages));
  DSA_ASSIGN_OR_RETURN(pool.latent_memory_, AlignedBuffer::allocate(latent_bytes, "latent cache"));
  DSA_ASSIGN_OR_RETURN(pool.index_memory_,
                       AlignedBuffer::allocate(index_bytes, "indexer-key cache"));
  if (options.resident) {
    DSA_RETURN_IF_ERROR(pool.latent_memory_.make_resident("latent cache"));
    DSA_RETURN_IF_ERROR(pool.index_memory_.make_resident("indexer-key cache"));
  }
  pool.page_bytes_ = options.latent.page_bytes() * static_cast<size_t>(options.n_layers) +
                     options.index.page_bytes() * n_indexed;
  pool.holders_.assign(n_pages, 0);
  for (int64_t page = options.n_pages - 1; page >= 0; --page) {
    pool.free_.push_back(static_cast<int32_t>(page));
  }
  return pool;
}

Status PagePool::acquire(int64_t n, std::vector<int32_t>* pages) {
  if (n > n_free()) {
    return error(StatusCode::kResourceExhausted,
                 "page pool: {} pages of 64 tokens free of {}, want {} more", n_free(), n_pages(),
                 n);
  }
  for (int64_t i = 0; i < n; ++i) {
    const int32_t page = free_.back();
    free_.pop_back();
    holders_[static_cast<size_t>(page)] = 1;
    pages->push_back(page);
  }
  return {};
}

void PagePool::share(int32_t page) {
  ++holders_[static_cast<size_t>(page)];
}

void PagePool::release(int32_t page) {
  if (--holders_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

template <class Fn>
void PagePool::for_each_part(int32_t page, Fn fn) const {
  const auto number = static_cast<size_t>(page);
  const size_t latent_bytes = options_.latent.page_bytes();
  const size_t index_bytes = options_.index.page_bytes();
  for (int64_t layer = 0; layer < options_.n_layers; ++layer) {
    fn(latent(layer) + number * latent_bytes, latent_bytes);
    if (options_.has_index[static_cast<size_t>(layer)]) {
      fn(index(layer) + number * index_bytes, index_bytes);
    }
  }
}

void PagePool::copy_page(int32_t from, int32_t to) {
  const ptrdiff_t pages = ptrdiff_t{to} - from;
  for_each_part(from, [pages](uint8_t* part, size_t n) {
    std::memcpy(part + pages * static_cast<ptrdiff_t>(n), part, n);
  });
}

void PagePool::export_page(int32_t page, uint8_t* bytes) const {
  for_each_part(page, [&bytes](const uint8_t* part, size_t n) {
    std::memcpy(bytes, part, n);
    bytes += n;
  });
}

void PagePool::import_page(int32_t page, const uint8_t* bytes) {
  for_each_part(page, [&bytes](uint8_t* part, size_t n) {
    std::memcpy(part, bytes, n);
    bytes += n;
  });
}

uint8_t* PagePool::latent(int64_t layer) const {
  return latent_memory_.data() + static_cast<size_t>(layer) * options_.latent.page_bytes() *
                                     static_cast<size_t>(options_.n_pages);
}

uint8_t* PagePool::index(int64_t layer) const {
  return index_memory_.data() + index_offset_[static_cast<size_t>(layer)];
}

}  // namespace dsa
