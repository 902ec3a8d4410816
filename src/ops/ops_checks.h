// Checks of the arguments of dsa/ops.h, and what they become for the operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include "dsa/ops.h"

#include "common/status_macros.h"
#include "formats/cache_layout.h"

namespace dsa {

inline constexpr int64_t kMaxDim = 4096;  // values of a latent or of a rope key
inline constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();

Status check_range(const char* name, int64_t value, int64_t low, int64_t high);
// The product of the extents, which are not negative.
Status check_size(const char* name, size_t size, std::initializer_list<int64_t> extents);
Status check_latent_dims(int64_t d_latent, int64_t d_rope);

// A view whose strides and sizes make sense: where its tokens lie. Row numbers count pages of
// 2^page_shift tokens, of which the first page_tokens exist.
struct PagedRows {
  size_t page_tokens = 1;
  unsigned page_shift = 0;
  size_t row_stride = 0;
  size_t page_stride = 0;
  int64_t n_slots = 0;

  // Between the row numbers' pages, modulo the address space.
  size_t page_gap() const { return page_stride - (row_stride << page_shift); }
  bool slots_are_rows() const { return page_tokens == size_t{1} << page_shift; }
  int32_t row(int32_t page, size_t place) const {
    return static_cast<int32_t>(static_cast<size_t>(page) << page_shift | place);
  }
  int32_t row_of_slot(int32_t slot) const {
    const auto at = static_cast<size_t>(slot);
    return row(static_cast<int32_t>(at / page_tokens), at % page_tokens);
  }
  size_t row_offset(size_t slot) const {  // bytes
    return slot / page_tokens * page_stride + slot % page_tokens * row_stride;
  }
};
Result<PagedRows> check_latent_pages(const char* name, const PagedView& view, size_t row_bytes);
Result<PagedRows> check_key_pages(const char* name,
                                  const PagedView& view,
                                  CacheFormat format,
                                  int64_t dim);

Status check_slots(std::span<const int64_t> slots, const PagedRows& pages);

int64_t n_queries_of(const SequenceBatch& batch);
Status check_batch(const SequenceBatch& batch, int64_t n_pages, int64_t page_tokens);
// The sequence of a query of a checked batch.
size_t sequence_of(const SequenceBatch& batch, size_t query);
// How many tokens it sees.
size_t visible_tokens(const SequenceBatch& batch, size_t sequence, size_t query);

}  // namespace dsa
