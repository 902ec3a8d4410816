// Attention over a list of cached rows (MLA in absorbed form: every head shares a row, which is
// key and value at once), and the pieces of blockwise softmax attention in expanded form.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/cache_layout.h"

namespace dsa::kernels {

//   p[i,h,j]  = exp(scale * <q[i,h,:], row_j> - lse[i,h])            over the rows query i may see
//   out[i,h,:] = sum_j p[i,h,j] * row_j[0 .. d_latent)
//   lse[i,h]  = ln sum_j exp(scale * <q[i,h,:], row_j>)
// fp8 and bf16 rows may be multiplied as bf16 with f32 accumulation (q and p rounded to bf16);
// f32 rows compute in f32 throughout. A row is read and converted once for about 128 query heads.
// d_latent and d_rope are even. The result for a query depends on the list and on its own mask, not
// on the other queries of the block; a row that is not finite reaches only the queries that see it.
// A query is multiplied with the rows it sees, in pairs of neighbours in the list where the tier
// multiplies pairs: a list in which queries see runs of rows wastes nothing.
struct AttendArgs {
  LatentLayout layout;
  // Row r starts at base + r * row_stride + (r >> page_shift) * page_gap, modulo the address space:
  // pages of 2^page_shift row numbers, each page_gap bytes longer than its rows.
  const uint8_t* base = nullptr;
  size_t row_stride = 0;  // bytes; 0: rows follow each other, layout.row_bytes() apart
  size_t page_gap = 0;
  unsigned page_shift = 0;
  const int32_t* rows = nullptr;  // [n_rows] physical row numbers; negative = masked
  size_t n_rows = 0;

  const float* q = nullptr;  // [n_queries, n_heads, d_latent + d_rope], dense
  size_t q_stride = 0;       // elements from one query to the next
  size_t n_queries = 1;
  size_t n_heads = 0;

  // Bit j % 64 of visible[i * visible_stride + j / 64]: query i sees list entry j.
  // null: every query sees every entry.
  const uint64_t* visible = nullptr;
  size_t visible_stride = 0;

  float scale = 0;       // multiplies the logits
  float* out = nullptr;  // [n_queries, n_heads, d_latent]; a query with no row: 0
  size_t out_stride = 0;
  float* lse = nullptr;  // [n_queries, n_heads] natural log; a query with no row: -inf
  size_t lse_stride = 0;
  void* scratch = nullptr;  // attend_scratch_bytes(), 64-byte aligned
};

// Rows of running softmax state for attention in expanded form: one key tile is folded in.
//   s[i, j]: logits before scaling, [m, n] with row stride ld; becomes p = exp(scale * s - max_i)
//   (0 where masked). row_max, row_sum: [m], start at -inf and 0. acc: [m, d_v] is rescaled by
//   exp(old_max - new_max) so that the caller can add p V to it.
struct OnlineSoftmaxArgs {
  float* s = nullptr;
  size_t ld = 0;
  size_t m = 0;
  size_t n = 0;
  float scale = 0;
  const int32_t* limit = nullptr;  // [m] entries j >= limit[i] are masked (may be <= 0)
  // Bit j % 64 of visible[i * visible_stride + j / 64]; null: no further mask.
  const uint64_t* visible = nullptr;
  size_t visible_stride = 0;
  float* row_max = nullptr;  // [m] of scale * s
  float* row_sum = nullptr;  // [m]
  float* acc = nullptr;      // [m, d_v], row stride ld_acc
  size_t ld_acc = 0;
  size_t d_v = 0;
};

struct AttentionKernels {
  size_t (*attend_scratch_bytes)(const LatentLayout& layout, size_t n_heads) noexcept;
  void (*attend)(const AttendArgs& args) noexcept;

  // Merges attention over disjoint parts of a row list:
  //   lse = ln sum_p exp(lse_p),  out = sum_p exp(lse_p - lse) out_p;  all -inf: 0 and -inf.
  // out_parts: [n_parts, n_heads, d], lse_parts: [n_parts, n_heads]; out must not overlap them.
  void (*merge)(const float* out_parts,
                const float* lse_parts,
                size_t n_parts,
                size_t n_heads,
                size_t d,
                float* out,
                float* lse) noexcept;

  void (*online_softmax)(const OnlineSoftmaxArgs& args) noexcept;
};

}  // namespace dsa::kernels
