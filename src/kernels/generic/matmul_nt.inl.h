// C[i,j] (+)= sum_k A[i,k] W[j,k]: lanes run along k.
//
// Every element has one accumulator register to which the vectors of a row are added in the order
// of k, whichever tile computes it; its lanes are summed once, at the end, in a fixed tree. Scaled
// weights: the row is cut at the edges of the scale blocks, each piece has an accumulator of its
// own, and total = piece * scale + total. Where the tier folds scales and those of a block of
// weight rows are powers of two, weights are scaled exactly as they are converted instead, and the
// row has one accumulator again, its vectors still cut at the edges of the blocks. That order is
// all that reaches the result.
#pragma once

#include "kernels/generic/matmul_nt_panel.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr size_t kLongRow = 8192;

// Whether the scales of column j's block of weight rows can all be folded into the weights.
template <class W>
bool folds(const MatmulArgs& args, size_t j) {
  for (size_t k = 0; k < args.k; k = block_end(args.w.col0, k, args.k)) {
    if (!W::can_fold(block_scale<W>(args.w, j, k))) return false;
  }
  return true;
}

template <class Math, class A, class W, bool kFolded>
void multiply_columns(const MatmulArgs& args) {
  if constexpr (W::kScaled) {
    if (args.m > kMaxDirectRows && args.k != 0) return panel_nt<Math, A, W, kFolded>(args);
  } else if constexpr (Math::kPair == 2) {
    // Whole rows of A no longer stay in the L2 cache from one tile to the next.
    if (args.m > kMaxDirectRows && args.k >= kLongRow) return panel_nt<Math, A, W, true>(args);
  }
  direct_nt<Math, A, W, kFolded>(args);
}

template <class Math, class A, class W>
void multiply_nt(const MatmulArgs& args) noexcept {
  if (args.m == 0 || args.n == 0) return;
  if constexpr (!W::kFolds) {
    multiply_columns<Math, A, W, false>(args);
  } else {
    for (size_t j = 0, end = 0; j < args.n; j = end) {
      const bool folded = folds<W>(args, j);
      end = block_end(args.w.row0, j, args.n);
      while (end < args.n && folds<W>(args, end) == folded)
        end = block_end(args.w.row0, end, args.n);
      MatmulArgs part = args;
      part.n = end - j;
      part.c += j;
      part.w.data = element<typename W::Bits>(args.w, j, 0);
      part.w.row0 += j;
      if (folded) {
        multiply_columns<Math, A, W, true>(part);
      } else {
        multiply_columns<Math, A, W, false>(part);
      }
    }
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
