// A cache of random latent rows at an odd address, for tests of attention.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "formats/cache_layout.h"
#include "formats/float_bits.h"
#include "reference/attention.h"

namespace dsa::kernels {

// Where rows lie: pages of 2^page_shift of them.
struct RowPlaces {
  size_t row_stride = 0;  // bytes; 0: dense
  size_t page_gap = 0;
  unsigned page_shift = 0;

  size_t offset(const LatentLayout& layout, size_t row) const {
    const size_t stride = row_stride != 0 ? row_stride : layout.row_bytes();
    return row * stride + (row >> page_shift) * page_gap;
  }
};

class LatentRows {
 public:
  // The values depend on the seed, not on the places. Bytes between rows make NaNs.
  LatentRows(const LatentLayout& layout, size_t n_rows, unsigned seed, const RowPlaces& places = {})
      : layout_(layout), places_(places), bytes_(places.offset(layout, n_rows) + 1, 0xFF) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (size_t r = 0; r < n_rows; ++r) {
      for (size_t g = 0; layout.format == CacheFormat::kFp8 && g < layout.n_scales(); ++g) {
        set_scale(r, g, std::ldexp(1.0F, -static_cast<int>(random() % 5)));
      }
      for (size_t d = 0; d < layout.d_latent + layout.d_rope; ++d)
        set(r, d, normal(random));
    }
  }

  // Stores the value itself, not divided by the scale.
  void set(size_t r, size_t d, float value) {
    uint8_t* row = at(r);
    const bool fp8 = layout_.format == CacheFormat::kFp8;
    if (fp8 && d < layout_.d_latent) {
      row[d] = f32_to_e4m3(value);
    } else if (layout_.format == CacheFormat::kF32) {
      std::memcpy(row + 4 * d, &value, sizeof(value));
    } else {
      const uint16_t bits = f32_to_bf16(value);
      const size_t offset = fp8 ? layout_.rope_offset() + 2 * (d - layout_.d_latent) : 2 * d;
      std::memcpy(row + offset, &bits, sizeof(bits));
    }
  }
  void set_scale(size_t r, size_t group, float scale) {
    std::memcpy(at(r) + layout_.scale_offset() + 4 * group, &scale, sizeof(scale));
  }
  void copy(const LatentRows& other, size_t r) {
    std::memcpy(at(r), other.base() + other.places_.offset(layout_, r), layout_.row_bytes());
  }
  void fill_with_nan(size_t r) { std::memset(at(r), 0xFF, layout_.row_bytes()); }

  const LatentLayout& layout() const { return layout_; }
  const RowPlaces& places() const { return places_; }
  const uint8_t* base() const { return bytes_.data() + 1; }
  std::vector<double> row(size_t r) const {
    return reference::latent_row(layout_, base() + places_.offset(layout_, r));
  }

 private:
  uint8_t* at(size_t r) { return bytes_.data() + 1 + places_.offset(layout_, r); }

  LatentLayout layout_;
  RowPlaces places_;
  std::vector<uint8_t> bytes_;
};

}  // namespace dsa::kernels
