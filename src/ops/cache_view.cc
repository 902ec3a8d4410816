#include "ops/cache_view.h"

#include <algorithm>
#include <cstring>

namespace dsa {

namespace {

// Cache rows may start at any byte: values pass through this many at a time.
constexpr size_t kChunk = 256;

void store_bf16(const kernels::VectorKernels& kernels, const float* x, size_t n, uint8_t* out) {
  uint16_t chunk[kChunk];
  for (size_t i = 0; i < n; i += kChunk) {
    const size_t count = std::min(kChunk, n - i);
    kernels.f32_to_bf16(x + i, count, chunk);
    std::memcpy(out + 2 * i, chunk, 2 * count);
  }
}

void load_bf16(const kernels::VectorKernels& kernels, const uint8_t* x, size_t n, float* out) {
  uint16_t chunk[kChunk];
  for (size_t i = 0; i < n; i += kChunk) {
    const size_t count = std::min(kChunk, n - i);
    std::memcpy(chunk, x + 2 * i, 2 * count);
    kernels.bf16_to_f32(chunk, count, out + i);
  }
}

}  // namespace

void store_latent_row(const kernels::VectorKernels& kernels,
                      const LatentLayout& layout,
                      const float* latent,
                      const float* rope,
                      uint8_t* row) {
  const size_t d_latent = layout.d_latent;
  switch (layout.format) {
    case CacheFormat::kF32:
      std::memcpy(row, latent, 4 * d_latent);
      std::memcpy(row + 4 * d_latent, rope, 4 * layout.d_rope);
      return;
    case CacheFormat::kBF16:
      store_bf16(kernels, latent, d_latent, row);
      store_bf16(kernels, rope, layout.d_rope, row + 2 * d_latent);
      return;
    case CacheFormat::kFp8:
      for (size_t g = 0; g < layout.n_scales(); ++g) {
        const size_t first = g * kScaleGroup;
        const float scale = kernels.quantize_e4m3(
            latent + first, std::min(kScaleGroup, d_latent - first), row + first);
        std::memcpy(row + layout.scale_offset() + 4 * g, &scale, sizeof scale);
      }
      store_bf16(kernels, rope, layout.d_rope, row + layout.rope_offset());
      return;
  }
}

void load_latent(const kernels::VectorKernels& kernels,
                 const LatentLayout& layout,
                 const uint8_t* row,
                 float* out) {
  const size_t d_latent = layout.d_latent;
  switch (layout.format) {
    case CacheFormat::kF32:
      std::memcpy(out, row, 4 * d_latent);
      return;
    case CacheFormat::kBF16:
      load_bf16(kernels, row, d_latent, out);
      return;
    case CacheFormat::kFp8:
      for (size_t g = 0; g < layout.n_scales(); ++g) {
        const size_t first = g * kScaleGroup;
        float scale = 0;
        std::memcpy(&scale, row + layout.scale_offset() + 4 * g, sizeof scale);
        kernels.dequantize_e4m3(row + first, std::min(kScaleGroup, d_latent - first), scale,
                                out + first);
      }
      return;
  }
}

void load_latent_row(const kernels::VectorKernels& kernels,
                     const LatentLayout& layout,
                     const uint8_t* row,
                     float* out) {
  load_latent(kernels, layout, row, out);
  float* rope = out + layout.d_latent;
  switch (layout.format) {
    case CacheFormat::kF32:
      std::memcpy(rope, row + 4 * layout.d_latent, 4 * layout.d_rope);
      return;
    case CacheFormat::kBF16:
      load_bf16(kernels, row + 2 * layout.d_latent, layout.d_rope, rope);
      return;
    case CacheFormat::kFp8:
      load_bf16(kernels, row + layout.rope_offset(), layout.d_rope, rope);
      return;
  }
}

void store_index_key(const kernels::VectorKernels& kernels,
                     const IndexKeyLayout& layout,
                     const float* key,
                     size_t slot,
                     uint8_t* page) {
  uint8_t* out = page + slot * layout.key_bytes();
  switch (layout.format) {
    case CacheFormat::kF32:
      std::memcpy(out, key, 4 * layout.dim);
      return;
    case CacheFormat::kBF16:
      store_bf16(kernels, key, layout.dim, out);
      return;
    case CacheFormat::kFp8: {
      const float scale = kernels.quantize_e4m3(key, layout.dim, out);
      std::memcpy(page + layout.scale_offset() + 4 * slot, &scale, sizeof scale);
      return;
    }
  }
}

}  // namespace dsa
