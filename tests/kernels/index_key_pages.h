// Inputs of the indexer's kernels: keys in pages, and queries their packed form holds exactly.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "formats/float_bits.h"
#include "kernels/indexer_kernels.h"
#include "reference/indexer.h"

namespace dsa::kernels {

// Pages of random keys in scattered order, at an odd address.
class KeyPages {
 public:
  KeyPages(const IndexKeyLayout& layout, size_t n_keys, unsigned seed) : layout_(layout) {
    const size_t n_pages = layout.page.page(n_keys) + 1;
    page_stride_ = layout.page_bytes() + 36;
    bytes_.resize(n_pages * page_stride_ + 1, 0xFF);  // NaN in every format
    for (size_t p = 0; p < n_pages; ++p)
      pages_.push_back(static_cast<int32_t>(n_pages - 1 - p));
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (size_t j = 0; j < n_keys; ++j) {
      for (size_t d = 0; d < layout.dim; ++d)
        set(j, d, normal(random));
      if (layout.format == CacheFormat::kFp8) {
        set_scale(j, std::ldexp(1.0F, -static_cast<int>(random() % 9)));
      }
    }
  }

  void set(size_t key, size_t d, float value) {
    uint8_t* at = page(key) + layout_.page.slot(key) * layout_.key_bytes();
    if (layout_.format == CacheFormat::kFp8) {
      at[d] = f32_to_e4m3(value);
    } else if (layout_.format == CacheFormat::kBF16) {
      const uint16_t bits = f32_to_bf16(value);
      std::memcpy(at + 2 * d, &bits, sizeof(bits));
    } else {
      std::memcpy(at + 4 * d, &value, sizeof(value));
    }
  }
  void set_code(size_t key, size_t d, uint8_t code) {
    page(key)[layout_.page.slot(key) * layout_.key_bytes() + d] = code;
  }
  void set_scale(size_t key, float scale) {
    std::memcpy(page(key) + layout_.scale_offset() + 4 * (layout_.page.slot(key)), &scale,
                sizeof(scale));
  }
  std::vector<double> key(size_t j) {
    return reference::index_key(layout_, page(j), layout_.page.slot(j));
  }

  IndexScoresArgs args() const {
    IndexScoresArgs args;
    args.layout = layout_;
    args.base = bytes_.data() + 1;
    args.page_stride = page_stride_;
    args.pages = pages_.data();
    return args;
  }

 private:
  uint8_t* page(size_t key) {
    return bytes_.data() + 1 + static_cast<size_t>(pages_[layout_.page.page(key)]) * page_stride_;
  }

  IndexKeyLayout layout_;
  size_t page_stride_ = 0;
  std::vector<uint8_t> bytes_;
  std::vector<int32_t> pages_;
};

struct Query {
  std::vector<float> q;
  std::vector<float> weights;
};

// Values the packed form holds exactly: what the oracle sees is what the kernel sees.
inline Query make_query(CacheFormat format, size_t n_heads, size_t dim, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Query query;
  for (size_t i = 0; i < n_heads * dim; ++i) {
    const float x = normal(random);
    query.q.push_back(format == CacheFormat::kFp8    ? e4m3_to_f32(f32_to_e4m3(x))
                      : format == CacheFormat::kBF16 ? bf16_to_f32(f32_to_bf16(x))
                                                     : x);
  }
  for (size_t h = 0; h < n_heads; ++h)
    query.weights.push_back(normal(random));
  return query;
}

}  // namespace dsa::kernels
