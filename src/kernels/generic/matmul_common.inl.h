// What both matrix products share. Requires DSA_TIER and that tier's matmul_types.h before
// inclusion.
//
// A tier's matmul_types.h defines, next to the lane vocabulary of vec.h:
//
//   struct F32Math, and where the tier multiplies bf16 pairs, struct Bf16Math:
//     Element                 what a panel of converted weights holds
//     Vec, kStep              a vector of kStep Elements
//     load, load_first        from a panel
//     dot(acc, a, b)          acc plus the products of the lanes (of pairs of lanes)
//     in_register(x)          x, kept in a register
//     kPair                   Elements that one lane of dot consumes: 1 or 2
//     interleave              rows k and k + 1 of a panel with kPair = 2
//   a struct for each stored type, for one Math:
//     Bits, kVecs             loads kVecs vectors at a time
//     kScaled                 values need the block scale
//     kFactor                 and this power of two besides
//     load(p, vecs), load_first(p, n, vecs)   exact values; 0 beyond the first n
//     broadcast<n>(p)         the n <= kPair Elements at p in every lane (types of activations)
//   tile shapes, each with its comment
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/cache_layout.h"
#include "kernels/matmul_kernels.h"

// A function of its own with everything it calls inlined: compilers give up on inlining inside
// larger functions, and a lambda that is called keeps its registers in memory.
#define DSA_LEAF [[gnu::flatten, gnu::noinline]]

namespace dsa::kernels::DSA_TIER {
namespace {

template <size_t kValue>
struct Index {
  constexpr operator size_t() const { return kValue; }  // NOLINT(google-explicit-constructor)
};

// body(0) ... body(kCount - 1) with constant arguments, so that arrays indexed by them can live in
// registers; compilers do not always manage that for a loop.
template <size_t kCount, size_t kFirst = 0, class Body>
[[gnu::always_inline]] inline void unroll(const Body& body) {
  if constexpr (kFirst < kCount) {
    body(Index<kFirst>{});
    unroll<kCount, kFirst + 1>(body);
  }
}

// Calls body(Index<count>) for count = 1 .. kMost known only at run time.
template <size_t kMost, class Body>
[[gnu::always_inline]] inline void with_constant(size_t count, const Body& body) {
  if constexpr (kMost > 1) {
    if (count < kMost) return with_constant<kMost - 1>(count, body);
  }
  body(Index<kMost>{});
}

// Rows of the next tile when `left` rows remain: as even as possible, at most kMost.
template <size_t kMost>
inline size_t tile_rows(size_t left) {
  const size_t n_tiles = (left + kMost - 1) / kMost;
  return (left + n_tiles - 1) / n_tiles;
}

constexpr size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

// A panel read like a stored matrix.
template <class Math>
struct InPanel {
  using Bits = typename Math::Element;
  static constexpr size_t kVecs = 1;

  static void load(const Bits* p, typename Math::Vec (&out)[1]) { out[0] = Math::load(p); }
  static void load_first(const Bits* p, size_t n, typename Math::Vec (&out)[1]) {
    out[0] = Math::load_first(p, n);
  }
};

template <class Bits>
inline const Bits* element(const WeightView& w, size_t row, size_t col) {
  const void* first = static_cast<const unsigned char*>(w.data) + row * w.row_bytes;
  return static_cast<const Bits*>(first) + col;
}

// From one row to the next, in elements.
template <class Bits>
inline size_t row_step(const WeightView& w) {
  return w.row_bytes / sizeof(Bits);
}

// What the values that W loads from the view's (row, col) are multiplied by.
template <class W>
inline float block_scale(const WeightView& w, size_t row, size_t col) {
  const size_t block_row = (w.row0 + row) / kWeightBlock;
  const size_t block_col = (w.col0 + col) / kWeightBlock;
  return w.scale[block_row * w.scale_ld + block_col] * W::kFactor;
}

// First index after `at` that lies in another scale block, where `origin` is the place of index 0
// in the grid of blocks; at most `end`.
inline size_t block_end(size_t origin, size_t at, size_t end) {
  return smaller(end, ((origin + at) / kWeightBlock + 1) * kWeightBlock - origin);
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
