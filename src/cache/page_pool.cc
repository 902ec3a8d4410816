#include "cache/page_pool.h"

#include <algorithm>
#include <limits>

#include "common/math.h"
#include "common/status_macros.h"

namespace dsa {

namespace {

Status check_sizes(const PagePoolOptions& options) {
  const int64_t tokens = options.page_tokens;
  if (tokens < kMinPageTokens || tokens > kMaxPageTokens || (tokens & (tokens - 1)) != 0) {
    return invalid_argument("page_tokens: {}, want a power of two from {} to {}", tokens,
                            kMinPageTokens, kMaxPageTokens);
  }
  // Rows are numbered by int32_t.
  const int64_t most = std::numeric_limits<int32_t>::max() / tokens;
  if (options.n_pages >= 1 && options.n_pages <= most) return {};
  return invalid_argument("page pool: {} pages of {} tokens, want 1 to {}", options.n_pages, tokens,
                          most);
}

Status check_plane(const Plane& plane, int64_t page_tokens) {
  if ((plane.bytes_per_page == 0) == (plane.bytes_per_sequence == 0)) {
    return invalid_argument("{} of layer {}: {} bytes per page, {} per sequence; want one of them",
                            plane.name, plane.layer, plane.bytes_per_page,
                            plane.bytes_per_sequence);
  }
  if (plane.tokens_per_entry >= 1 && page_tokens % plane.tokens_per_entry == 0) return {};
  return invalid_argument("{} of layer {}: {} tokens per entry, want a divisor of a page's {}",
                          plane.name, plane.layer, plane.tokens_per_entry, page_tokens);
}

}  // namespace

Result<PagePool> PagePool::create(const PagePoolOptions& options) {
  DSA_RETURN_IF_ERROR(check_sizes(options));
  PagePool pool;
  for (const Plane& plane : options.planes) {
    DSA_RETURN_IF_ERROR(check_plane(plane, options.page_tokens));
    pool.has_state_ = pool.has_state_ || plane.is_state();
  }
  pool.planes_ = options.planes;
  pool.page_ = PageSize::of(static_cast<size_t>(options.page_tokens));
  pool.numbers_ = PageNumbers(options.n_pages);
  DSA_ASSIGN_OR_RETURN(pool.memory_,
                       make_host_memory(options.planes, options.n_pages, options.resident));
  return pool;
}

int64_t PagePool::n_tokens() const {
  return numbers_.n_pages() * static_cast<int64_t>(page_.tokens());
}

std::optional<size_t> PagePool::find(int64_t layer, std::string_view name) const {
  const auto found = std::find_if(planes_.begin(), planes_.end(), [&](const Plane& plane) {
    return plane.layer == layer && plane.name == name;
  });
  if (found == planes_.end()) return std::nullopt;
  return static_cast<size_t>(found - planes_.begin());
}

PlaneView PagePool::plane(int64_t layer, std::string_view name) const {
  const std::optional<size_t> index = find(layer, name);
  return index ? plane(*index) : PlaneView();
}

int64_t PagePool::bytes_of(std::string_view name) const {
  return static_cast<int64_t>(page_bytes_of(planes_, name)) * numbers_.n_pages();
}

}  // namespace dsa
