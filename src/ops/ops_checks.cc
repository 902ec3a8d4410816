#include "ops/ops_checks.h"

#include <algorithm>
#include <bit>

#include "common/math.h"
#include "formats/limits.h"

namespace dsa {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 62;  // of a cache: addresses have fewer

Status check_even(const char* name, int64_t value) {
  if (value % 2 == 0) return {};
  return invalid_argument("{}: {}, want an even number", name, value);
}

Status check_stride(const char* name, const char* which, int64_t stride, uint64_t least) {
  if (stride == 0 || (stride > 0 && static_cast<uint64_t>(stride) >= least)) return {};
  return invalid_argument("{}: {} {}, want 0 or at least {}", name, which, stride, least);
}

// A page's own bytes are those up to the end of its last row.
Result<PagedRows> check_pages(const char* name,
                              const PagedView& view,
                              uint64_t row_stride,
                              uint64_t page_bytes) {
  if (view.n_pages < 0 || view.n_pages > kMaxCount) {
    return invalid_argument("{}: {} pages, want 0 to {}", name, view.n_pages, kMaxCount);
  }
  DSA_RETURN_IF_ERROR(check_stride(name, "page_stride", view.page_stride, page_bytes));
  const uint64_t page_stride =
      view.page_stride != 0 ? static_cast<uint64_t>(view.page_stride) : page_bytes;
  const auto n_bytes = checked_mul(page_stride, static_cast<uint64_t>(view.n_pages));
  if (!n_bytes || *n_bytes > kMostBytes) {
    return invalid_argument("{}: {} pages {} bytes apart, want at most {} bytes", name,
                            view.n_pages, page_stride, kMostBytes);
  }
  PagedRows rows;
  rows.page_tokens = static_cast<size_t>(view.page_tokens);
  rows.page_shift = static_cast<unsigned>(std::bit_width(rows.page_tokens - 1));
  rows.row_stride = row_stride;
  rows.page_stride = page_stride;
  rows.n_slots = view.n_pages * view.page_tokens;
  const int64_t most_pages = (kMaxCount >> rows.page_shift) + 1;
  if (view.n_pages > most_pages) {
    return invalid_argument("{}: {} pages of {} tokens, want at most {}", name, view.n_pages,
                            view.page_tokens, most_pages);
  }
  if (view.data == nullptr && view.n_pages != 0) {
    return invalid_argument("{}: no data, want {} pages", name, view.n_pages);
  }
  return rows;
}

Status check_lengths(const SequenceBatch& batch, int64_t page_tokens) {
  for (size_t s = 0; s < batch.lengths.size(); ++s) {
    const int64_t length = batch.lengths[s];
    if (length < 0) return invalid_argument("lengths[{}]: {}, want 0 or more", s, length);
    const int64_t n_blocks = ceil_div(length, page_tokens);
    if (n_blocks > batch.max_blocks) {
      return invalid_argument("lengths[{}]: {} in blocks of {}, want at most {} blocks", s, length,
                              page_tokens, batch.max_blocks);
    }
  }
  return {};
}

Status check_block_tables(const SequenceBatch& batch, int64_t n_pages, int64_t page_tokens) {
  for (size_t s = 0; s < batch.lengths.size(); ++s) {
    const int32_t* table = batch.block_tables.data() + s * static_cast<size_t>(batch.max_blocks);
    const int64_t n_blocks = ceil_div<int64_t>(batch.lengths[s], page_tokens);
    for (int64_t b = 0; b < n_blocks; ++b) {
      if (table[b] >= 0 && table[b] < n_pages) continue;
      return invalid_argument("block_tables[{}, {}]: {}, want 0 to {}", s, b, table[b],
                              n_pages - 1);
    }
  }
  return {};
}

Status check_query_start(std::span<const int32_t> query_start) {
  if (query_start.empty()) return invalid_argument("query_start: 0 elements, want at least 1");
  if (query_start[0] != 0) return invalid_argument("query_start[0]: {}, want 0", query_start[0]);
  for (size_t s = 1; s < query_start.size(); ++s) {
    if (query_start[s] >= query_start[s - 1]) continue;
    return invalid_argument("query_start[{}]: {}, want at least {}", s, query_start[s],
                            query_start[s - 1]);
  }
  return {};
}

Status check_visible(const SequenceBatch& batch) {
  if (batch.visible.empty()) return {};
  DSA_RETURN_IF_ERROR(check_size("visible", batch.visible.size(), {n_queries_of(batch)}));
  for (size_t i = 0; i < batch.visible.size(); ++i) {
    const int32_t length = batch.lengths[sequence_of(batch, i)];
    if (batch.visible[i] >= 0 && batch.visible[i] <= length) continue;
    return invalid_argument("visible[{}]: {}, want 0 to {}", i, batch.visible[i], length);
  }
  return {};
}

}  // namespace

Status check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid_argument("{}: {}, want {} to {}", name, value, low, high);
}

Status check_size(const char* name, size_t size, std::initializer_list<int64_t> extents) {
  uint64_t want = 1;
  for (const int64_t extent : extents) {
    const auto next = checked_mul(want, static_cast<uint64_t>(extent));
    want = next ? *next : std::numeric_limits<uint64_t>::max();
  }
  if (size == want) return {};
  return invalid_argument("{}: {} elements, want {}", name, size, want);
}

Status check_latent_dims(int64_t d_latent, int64_t d_rope) {
  DSA_RETURN_IF_ERROR(check_range("d_latent", d_latent, 2, kMaxDim));
  DSA_RETURN_IF_ERROR(check_even("d_latent", d_latent));
  DSA_RETURN_IF_ERROR(check_range("d_rope", d_rope, 0, kMaxDim));
  return check_even("d_rope", d_rope);
}

Result<PagedRows> check_latent_pages(const char* name, const PagedView& view, size_t row_bytes) {
  if (view.page_tokens < 1 || view.page_tokens > kMaxCount) {
    return invalid_argument("{}: pages of {} tokens, want 1 to {}", name, view.page_tokens,
                            kMaxCount);
  }
  DSA_RETURN_IF_ERROR(check_stride(name, "row_stride", view.row_stride, row_bytes));
  const uint64_t row_stride =
      view.row_stride != 0 ? static_cast<uint64_t>(view.row_stride) : row_bytes;
  const auto before_last = checked_mul(row_stride, static_cast<uint64_t>(view.page_tokens - 1));
  const auto page_bytes = before_last ? checked_add(*before_last, row_bytes) : before_last;
  if (!page_bytes || *page_bytes > kMostBytes) {
    return invalid_argument("{}: {} rows {} bytes apart, want at most {} bytes", name,
                            view.page_tokens, row_stride, kMostBytes);
  }
  // Pages that follow each other leave the last row its stride.
  PagedView strided = view;
  if (view.page_stride == 0 && *before_last + row_stride <= kMostBytes) {
    strided.page_stride = static_cast<int64_t>(*before_last + row_stride);
  }
  return check_pages(name, strided, row_stride, *page_bytes);
}

Result<PagedRows> check_key_pages(const char* name,
                                  const PagedView& view,
                                  CacheFormat format,
                                  int64_t dim) {
  if (view.page_tokens < 1 || view.page_tokens > kMaxCount ||
      (view.page_tokens & (view.page_tokens - 1)) != 0) {
    return invalid_argument("{}: pages of {} tokens, want a power of two", name, view.page_tokens);
  }
  if (view.row_stride != 0) {
    return invalid_argument("{}: row_stride {}, want 0", name, view.row_stride);
  }
  const IndexKeyLayout layout = {format, static_cast<size_t>(dim),
                                 PageSize::of(static_cast<size_t>(view.page_tokens))};
  return check_pages(name, view, layout.key_bytes(), layout.page_bytes());
}

Status check_slots(std::span<const int64_t> slots, const PagedRows& pages) {
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i] < pages.n_slots) continue;
    return invalid_argument("slots[{}]: {}, want less than {}", i, slots[i], pages.n_slots);
  }
  return {};
}

int64_t n_queries_of(const SequenceBatch& batch) {
  return batch.query_start.empty() ? 0 : batch.query_start.back();
}

Status check_batch(const SequenceBatch& batch, int64_t n_pages, int64_t page_tokens) {
  DSA_RETURN_IF_ERROR(check_query_start(batch.query_start));
  const auto n_sequences = static_cast<int64_t>(batch.query_start.size()) - 1;
  DSA_RETURN_IF_ERROR(check_size("lengths", batch.lengths.size(), {n_sequences}));
  DSA_RETURN_IF_ERROR(check_range("max_blocks", batch.max_blocks, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(
      check_size("block_tables", batch.block_tables.size(), {n_sequences, batch.max_blocks}));
  DSA_RETURN_IF_ERROR(check_lengths(batch, page_tokens));
  DSA_RETURN_IF_ERROR(check_block_tables(batch, n_pages, page_tokens));
  return check_visible(batch);
}

size_t sequence_of(const SequenceBatch& batch, size_t query) {
  const auto after = std::upper_bound(batch.query_start.begin(), batch.query_start.end(),
                                      static_cast<int64_t>(query));
  return static_cast<size_t>(after - batch.query_start.begin()) - 1;
}

size_t visible_tokens(const SequenceBatch& batch, size_t sequence, size_t query) {
  if (!batch.visible.empty()) return static_cast<size_t>(batch.visible[query]);
  const int64_t later = batch.query_start[sequence + 1] - static_cast<int64_t>(query) - 1;
  return static_cast<size_t>(std::max<int64_t>(batch.lengths[sequence] - later, 0));
}

}  // namespace dsa
