// A batch of sequences of unequal lengths in a paged cache whose pages are in no order, with bytes
// between rows and pages that nobody may touch.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "dsa/ops.h"

#include "formats/float_bits.h"

namespace dsa {

inline std::vector<float> normal_values(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values)
    value = normal(random);
  return values;
}

inline std::vector<uint16_t> to_bf16(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float value : values)
    bits.push_back(f32_to_bf16(value));
  return bits;
}
inline std::vector<float> to_f32(const std::vector<uint16_t>& bits) {
  std::vector<float> values;
  for (const uint16_t value : bits)
    values.push_back(bf16_to_f32(value));
  return values;
}

// How a cache lies in memory, beyond its rows' own bytes.
struct Geometry {
  int64_t page_tokens;
  int64_t row_gap;  // bytes; 0 and 0: dense
  int64_t page_gap;
};

class PagedMemory {
 public:
  static constexpr uint8_t kCanary = 0xA5;

  // Room for n_pages pages of rows of row_bytes, or of pages of page_bytes that have no strides of
  // their own.
  PagedMemory(int64_t n_pages, const Geometry& geometry, int64_t row_bytes)
      : row_bytes_(row_bytes) {
    view_.n_pages = n_pages;
    view_.page_tokens = geometry.page_tokens;
    if (geometry.row_gap != 0) view_.row_stride = row_bytes + geometry.row_gap;
    const int64_t page = geometry.page_tokens * (row_bytes + geometry.row_gap);
    if (geometry.page_gap != 0) view_.page_stride = page + geometry.page_gap;
    stride_ = page + geometry.page_gap;
    bytes_.assign(static_cast<size_t>(n_pages * stride_ + 1), kCanary);
    view_.data = bytes_.data() + 1;
  }

  const MutablePagedView& view() const { return view_; }
  const uint8_t* page(int64_t page) const { return view_.data + page * stride_; }
  const uint8_t* row(int64_t page_number, int64_t place) const {
    return page(page_number) + place * (view_.row_stride != 0 ? view_.row_stride : row_bytes_);
  }

  // That every byte outside the rows is as it was.
  void expect_gaps_untouched() const {
    std::vector<uint8_t> seen = bytes_;
    for (int64_t p = 0; p < view_.n_pages; ++p) {
      for (int64_t place = 0; place < view_.page_tokens; ++place) {
        const auto at = static_cast<size_t>(row(p, place) - bytes_.data());
        std::fill_n(seen.begin() + static_cast<ptrdiff_t>(at), row_bytes_, kCanary);
      }
    }
    EXPECT_EQ(seen, std::vector<uint8_t>(seen.size(), kCanary)) << "written between rows";
  }

 private:
  int64_t row_bytes_;
  int64_t stride_ = 0;
  std::vector<uint8_t> bytes_;
  MutablePagedView view_;
};

// Lengths, queries and block tables.
struct PagedBatch {
  std::vector<int32_t> lengths;
  std::vector<int32_t> query_start = {0};
  std::vector<int32_t> tables;
  int64_t max_blocks = 0;
  int64_t page_tokens;
  int64_t n_pages = 3;  // some that nobody uses

  PagedBatch(std::vector<int32_t> of_lengths,
             const std::vector<int32_t>& queries,
             int64_t tokens_per_page)
      : lengths(std::move(of_lengths)), page_tokens(tokens_per_page) {
    for (const int32_t n : queries)
      query_start.push_back(query_start.back() + n);
    for (const int32_t length : lengths) {
      max_blocks = std::max(max_blocks, blocks(length));
      n_pages += blocks(length);
    }
    std::vector<int32_t> pages(static_cast<size_t>(n_pages));
    std::iota(pages.begin(), pages.end(), 0);
    std::mt19937 random(7);
    std::shuffle(pages.begin(), pages.end(), random);
    tables.assign(lengths.size() * static_cast<size_t>(max_blocks), -9);  // never read
    for (size_t s = 0; s < lengths.size(); ++s) {
      for (int64_t b = 0; b < blocks(lengths[s]); ++b) {
        tables[s * static_cast<size_t>(max_blocks) + static_cast<size_t>(b)] = pages.back();
        pages.pop_back();
      }
    }
  }

  int64_t blocks(int64_t length) const { return (length + page_tokens - 1) / page_tokens; }
  int64_t n_queries() const { return query_start.back(); }
  size_t n_sequences() const { return lengths.size(); }
  int32_t page(size_t sequence, int64_t token) const {
    return tables[sequence * static_cast<size_t>(max_blocks) +
                  static_cast<size_t>(token / page_tokens)];
  }
  int64_t slot(size_t sequence, int64_t token) const {
    return page(sequence, token) * page_tokens + token % page_tokens;
  }
  size_t sequence_of_query(int64_t query) const {
    size_t s = 0;
    while (query >= query_start[s + 1])
      ++s;
    return s;
  }
  // Of every token of every sequence, one after another.
  std::vector<int64_t> all_slots() const {
    std::vector<int64_t> slots;
    for (size_t s = 0; s < lengths.size(); ++s) {
      for (int64_t t = 0; t < lengths[s]; ++t)
        slots.push_back(slot(s, t));
    }
    return slots;
  }
  SequenceBatch view() const {
    return {.query_start = query_start,
            .lengths = lengths,
            .block_tables = tables,
            .max_blocks = max_blocks,
            .visible = {}};
  }
};

}  // namespace dsa
