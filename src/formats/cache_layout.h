// Byte layouts of the two caches. Every other mention of these numbers derives from here.
//
// Latent row, one token, all heads share it (little-endian):
//   fp8    [d_latent] e4m3 | [ceil(d_latent/128)] f32 scales | [d_rope] bf16 rope key
//          value = code * scale of its group of 128; DeepSeek-V3.2 (512 + 64): 656 bytes,
//          byte-equal to FlashMLA's V3.2 format
//   bf16   [d_latent + d_rope] bf16;   f32  [d_latent + d_rope] f32
// Rows of a page follow each other. The rope key is stored after RoPE, in the model's own element
// order.
//
// Indexer-key page of P keys (P is IndexKeyLayout::page.tokens()), split in two blocks:
//   fp8    [P][dim] e4m3, then [P] f32 scales: 132 bytes a token at dim 128, byte-equal to
//          DeepGEMM's layout at P = 64
//   bf16   [P][dim] bf16;    f32  [P][dim] f32
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

inline constexpr size_t kScaleGroup = 128;   // values that share one scale in a cache row
inline constexpr size_t kWeightBlock = 128;  // rows and columns that share one weight scale
inline constexpr float kMinAmax = 1e-4F;     // floor of a group's largest magnitude

// Tokens of a page, a power of two: in which page and slot a token lies takes no division.
struct PageSize {
  uint32_t log2 = 6;

  // tokens: a power of two.
  DSA_LAYOUT_FN static PageSize of(size_t tokens) {
    return {static_cast<uint32_t>(__builtin_ctzll(tokens))};
  }
  DSA_LAYOUT_FN size_t tokens() const { return size_t{1} << log2; }
  DSA_LAYOUT_FN size_t page(size_t token) const { return token >> log2; }
  DSA_LAYOUT_FN size_t slot(size_t token) const { return token & (tokens() - 1); }
  DSA_LAYOUT_FN size_t pages(size_t n_tokens) const { return page(n_tokens + tokens() - 1); }
};

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
};

struct IndexKeyLayout {
  CacheFormat format = CacheFormat::kFp8;
  size_t dim = 0;
  PageSize page = {};

  DSA_LAYOUT_FN size_t key_bytes() const {
    return format == CacheFormat::kFp8 ? dim : (format == CacheFormat::kBF16 ? 2 : 4) * dim;
  }
  DSA_LAYOUT_FN size_t entry_bytes() const {  // with its scale
    return key_bytes() + (format == CacheFormat::kFp8 ? 4 : 0);
  }
  DSA_LAYOUT_FN size_t scale_offset() const { return key_bytes() * page.tokens(); }  // fp8 only
  DSA_LAYOUT_FN size_t page_bytes() const { return entry_bytes() * page.tokens(); }
};

#undef DSA_LAYOUT_FN

static_assert(LatentLayout{CacheFormat::kFp8, 512, 64}.row_bytes() == 656);
static_assert(IndexKeyLayout{CacheFormat::kFp8, 128}.page_bytes() == 132 * kDefaultPageTokens);
static_assert(IndexKeyLayout{CacheFormat::kFp8, 128}.scale_offset() == 128 * kDefaultPageTokens);
static_assert(PageSize().tokens() == kDefaultPageTokens);

}  // namespace dsa
