// One sequence's caches in one layer, as operations see them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/cache_layout.h"
#include "ops/context.h"

namespace dsa {

struct LatentCacheView {
  LatentLayout layout;
  uint8_t* base = nullptr;         // row r at base + r * layout.row_bytes()
  std::span<const int32_t> pages;  // token t: row pages[t / P] * P + t % P, P: page.tokens()
  PageSize page = {};

  int32_t row(size_t token) const {
    return static_cast<int32_t>((static_cast<size_t>(pages[page.page(token)]) << page.log2) +
                                page.slot(token));
  }
  uint8_t* row_address(size_t token) const {
    return base + static_cast<size_t>(row(token)) * layout.row_bytes();
  }
};

struct IndexCacheView {
  IndexKeyLayout layout;
  uint8_t* base = nullptr;  // page p at base + p * layout.page_bytes()
  std::span<const int32_t> pages;

  uint8_t* page_address(size_t token) const {
    return base + static_cast<size_t>(pages[layout.page.page(token)]) * layout.page_bytes();
  }
};

// latent: [d_latent] f32 after its norm, rope: [d_rope] f32 after RoPE; row: row_bytes().
void store_latent_row(const kernels::VectorKernels& kernels,
                      const LatentLayout& layout,
                      const float* latent,
                      const float* rope,
                      uint8_t* row);

// The latent as the cache gives it back: out [d_latent] f32.
void load_latent(const kernels::VectorKernels& kernels,
                 const LatentLayout& layout,
                 const uint8_t* row,
                 float* out);

// The whole row: out [d_latent + d_rope] f32.
void load_latent_row(const kernels::VectorKernels& kernels,
                     const LatentLayout& layout,
                     const uint8_t* row,
                     float* out);

// key: [dim] f32 after LayerNorm, RoPE and Hadamard; slot: below layout.page.tokens().
void store_index_key(const kernels::VectorKernels& kernels,
                     const IndexKeyLayout& layout,
                     const float* key,
                     size_t slot,
                     uint8_t* page);

}  // namespace dsa
