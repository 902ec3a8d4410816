// Byte layouts of the two caches. Every other mention of these numbers derives from here.
//
// Latent row, one token, all heads share it (little-endian):
//   fp8    [d_latent] e4m3 | [ceil(d_latent/128)] f32 scales | [d_rope] bf16 rope key
//          value = code * scale of its group of 128; DeepSeek-V3.2 (512 + 64): 656 bytes,
//          byte-equal to FlashMLA's V3.2 format
//   bf16   [d_latent + d_rope] bf16;   f32  [d_latent + d_rope] f32
// Rows of a page follow each other; a page holds kPageTokens rows. The rope key is stored after
// RoPE, in the model's own element order.
//
// Indexer-key page of kPageTokens tokens, split in two blocks:
//   fp8    [kPageTokens][dim] e4m3, then [kPageTokens] f32 scales: 132 bytes a token at dim 128,
//          byte-equal to DeepGEMM's layout
//   bf16   [kPageTokens][dim] bf16;    f32  [kPageTokens][dim] f32
// The key is stored after LayerNorm, RoPE and Hadamard.
//
// Scales are powers of two: 2^ceil(log2(max(amax, 1e-4) / 448)).
#pragma once

#include <cstddef>
#include <cstdint>

#include "dsa/types.h"

#include "common/math.h"

// Inlined even without optimisation: an out-of-line copy compiled in a tier's file would be a
// shared symbol that holds the tier's instructions (tools/check_isa_leak).
#define DSA_LAYOUT_FN [[gnu::always_inline]] constexpr

namespace dsa {

inline constexpr size_t kPageTokens = 64;
inline constexpr size_t kScaleGroup = 128;   // values that share one scale in a cache row
inline constexpr size_t kWeightBlock = 128;  // rows and columns that share one weight scale
inline constexpr float kMinAmax = 1e-4F;     // floor of a group's largest magnitude

struct LatentLayout {
  CacheFormat format = CacheFormat::kFp8;
  size_t d_latent = 0;
  size_t d_rope = 0;

  DSA_LAYOUT_FN size_t n_scales() const { return ceil_div(d_latent, kScaleGroup); }
  DSA_LAYOUT_FN size_t scale_offset() const { return d_latent; }                  // fp8 only
  DSA_LAYOUT_FN size_t rope_offset() const { return d_latent + 4 * n_scales(); }  // fp8 only
  DSA_LAYOUT_FN size_t row_bytes() const {
    if (format == CacheFormat::kFp8) return rope_offset() + 2 * d_rope;
    return (format == CacheFormat::kBF16 ? 2 : 4) * (d_latent + d_rope);
  }
  DSA_LAYOUT_FN size_t page_bytes() const { return row_bytes() * kPageTokens; }
};

struct IndexKeyLayout {
  CacheFormat format = CacheFormat::kFp8;
  size_t dim = 0;

  DSA_LAYOUT_FN size_t key_bytes() const {
    return format == CacheFormat::kFp8 ? dim : (format == CacheFormat::kBF16 ? 2 : 4) * dim;
  }
  DSA_LAYOUT_FN size_t scale_offset() const { return key_bytes() * kPageTokens; }  // fp8 only
  DSA_LAYOUT_FN size_t page_bytes() const {
    return scale_offset() + (format == CacheFormat::kFp8 ? 4 * kPageTokens : 0);
  }
};

#undef DSA_LAYOUT_FN

static_assert(LatentLayout{CacheFormat::kFp8, 512, 64}.row_bytes() == 656);
static_assert(IndexKeyLayout{CacheFormat::kFp8, 128}.page_bytes() == 132 * kPageTokens);

}  // namespace dsa
