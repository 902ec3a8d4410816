// C[i,j] (+)= sum_k A[i,k] W[j,k]: lanes run along k.
//
// Every element has one accumulator register to which the vectors of a row are added in the order
// of k, whichever tile computes it; its lanes are summed once, at the end, in a fixed tree. Scaled
// weights: the row is cut at the edges of the scale blocks, each piece has an accumulator of its
// own, and total = piece * scale + total. That order is all that reaches the result.
#pragma once

#include "kernels/generic/matmul_common.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

inline void write_sum(const MatmulArgs& args, size_t i, size_t j, F32 acc) {
  float* c = args.c + i * args.ldc + j;
  const float sum = reduce_add(acc);
  *c = args.accumulate ? *c + sum : sum;
}

// Few rows: weights go straight from memory to registers, once.

// Adds the products of elements [begin, end) of the rows.
template <class Math, class A, class W, size_t kM, size_t kN>
[[gnu::always_inline]] inline void add_products(const typename A::Bits* const (&a)[kM],
                                                const typename W::Bits* const (&w)[kN],
                                                size_t begin,
                                                size_t end,
                                                F32 (&acc)[kM][kN]) {
  constexpr size_t kGroup = W::kVecs * Math::kStep;
  size_t k = begin;
  for (; k + kGroup <= end; k += kGroup) {
    unroll<kN>([&](auto j) {
      typename Math::Vec weights[W::kVecs];
      W::load(w[j] + k, weights);
      unroll<W::kVecs>([&](auto v) {
        unroll<kM>([&](auto i) {
          typename Math::Vec row[1];
          A::load(a[i] + k + v * Math::kStep, row);
          acc[i][j] = Math::dot(acc[i][j], row[0], weights[v]);
        });
      });
    });
  }
  if (k == end) return;
  unroll<kN>([&](auto j) {
    typename Math::Vec weights[W::kVecs];
    W::load_first(w[j] + k, end - k, weights);
    unroll<W::kVecs>([&](auto v) {
      const size_t first = k + v * Math::kStep;
      if (first >= end) return;
      unroll<kM>([&](auto i) {
        typename Math::Vec row[1];
        A::load_first(a[i] + first, smaller(end - first, Math::kStep), row);
        acc[i][j] = Math::dot(acc[i][j], row[0], weights[v]);
      });
    });
  });
}

template <class Math, class A, class W, size_t kM, size_t kN>
inline void direct_tile(const MatmulArgs& args, size_t j0) {
  const size_t columns = smaller(kN, args.n - j0);
  const typename A::Bits* a[kM];
  const typename W::Bits* w[kN];
  F32 total[kM][kN];
  unroll<kM>([&](auto i) { a[i] = static_cast<const typename A::Bits*>(args.a) + i * args.lda; });
  unroll<kN>([&](auto j) {  // beyond the edge: the last row once more, not written
    w[j] = element<typename W::Bits>(args.w, j0 + smaller(j, columns - 1), 0);
    unroll<kM>([&](auto i) { total[i][j] = zero(); });
  });

  if constexpr (W::kScaled) {
    for (size_t k = 0, end = 0; k < args.k; k = end) {
      end = block_end(args.w.col0, k, args.k);
      F32 piece[kM][kN];
      unroll<kM>([&](auto i) { unroll<kN>([&](auto j) { piece[i][j] = zero(); }); });
      add_products<Math, A, W>(a, w, k, end, piece);
      unroll<kN>([&](auto j) {
        const F32 scale = set(block_scale(args.w, j0 + smaller(j, columns - 1), k));
        unroll<kM>([&](auto i) { total[i][j] = fma(piece[i][j], scale, total[i][j]); });
      });
    }
  } else {
    add_products<Math, A, W>(a, w, 0, args.k, total);
  }
  unroll<kM>([&](auto i) {
    unroll<kN>([&](auto j) {
      if (j < columns) write_sum(args, i, j0 + j, total[i][j]);
    });
  });
}

constexpr size_t direct_columns(size_t accumulators, size_t rows) {
  size_t columns = 1;
  while (columns < 8 && 2 * columns * rows <= accumulators)
    columns *= 2;
  return columns;
}

template <class Math, class A, class W>
void direct_nt(const MatmulArgs& args) {
  with_constant<kDirectRows>(args.m, [&](auto rows) {
    constexpr size_t kM = decltype(rows){};
    constexpr size_t kN = direct_columns(W::kScaled ? kDirectTile / 2 : kDirectTile, kM);
    for (size_t j = 0; j < args.n; j += kN)
      direct_tile<Math, A, W, kM, kN>(args, j);
  });
}

// Many rows: a panel of kPanelRows weight rows is converted a chunk of k at a time and used by a
// block of rows of A. Between chunks the accumulators rest in memory, whole.

constexpr size_t kBlockRows = 64;
constexpr size_t kPanelBytes = 16 * 1024;
constexpr size_t kMaxPieces = 8;

template <class Math>
constexpr size_t kPanelDepth = kPanelBytes / (kPanelRows * sizeof(typename Math::Element));

template <class Math>
struct Panel {
  alignas(64) typename Math::Element weights[kPanelRows][kPanelDepth<Math>];
  size_t first = 0;  // chunk [first, first + depth) of k
  size_t depth = 0;
  size_t n_pieces = 1;  // parts of the chunk with one scale each
  size_t piece_end[kMaxPieces];
  float scale[kMaxPieces][kPanelRows];
};

// Last index of the chunk that starts at k: whole scale blocks while there is room.
template <class Math, bool kScaled>
inline size_t chunk_end(const MatmulArgs& args, size_t k) {
  if (!kScaled) return smaller(args.k, k + kPanelDepth<Math>);
  constexpr size_t kBlocks = smaller(kPanelDepth<Math> / kWeightBlock, kMaxPieces);
  const size_t end = block_end(args.w.col0, k, args.k) + (kBlocks - 1) * kWeightBlock;
  return smaller(args.k, end);
}

template <class Math, class W>
inline void convert_row(const typename W::Bits* from, size_t n, typename Math::Element* to) {
  constexpr size_t kGroup = W::kVecs * Math::kStep;
  typename Math::Vec vecs[W::kVecs];
  size_t k = 0;
  for (; k + kGroup <= n; k += kGroup) {
    W::load(from + k, vecs);
    unroll<W::kVecs>([&](auto v) { Math::store(to + k + v * Math::kStep, vecs[v]); });
  }
  if (k == n) return;
  W::load_first(from + k, n - k, vecs);
  unroll<W::kVecs>([&](auto v) {
    const size_t first = k + v * Math::kStep;
    if (first < n) Math::store_first(to + first, smaller(n - first, Math::kStep), vecs[v]);
  });
}

template <class Math, class W>
void fill_panel(const MatmulArgs& args, size_t j0, size_t first, Panel<Math>& panel) {
  const size_t end = chunk_end<Math, W::kScaled>(args, first);
  panel.first = first;
  panel.depth = end - first;
  for (size_t j = 0; j < kPanelRows; ++j) {
    const size_t row = smaller(j0 + j, args.n - 1);
    convert_row<Math, W>(element<typename W::Bits>(args.w, row, first), panel.depth,
                         panel.weights[j]);
  }
  panel.n_pieces = 1;
  panel.piece_end[0] = panel.depth;
  if constexpr (W::kScaled) {
    panel.n_pieces = 0;
    for (size_t k = first, next = 0; k < end; k = next) {
      next = block_end(args.w.col0, k, end);
      for (size_t j = 0; j < kPanelRows; ++j) {
        panel.scale[panel.n_pieces][j] = block_scale(args.w, smaller(j0 + j, args.n - 1), k);
      }
      panel.piece_end[panel.n_pieces++] = next - first;
    }
  }
}

// kM rows of A times kTileRows rows of the panel; sums: [kM][kPanelRows].
template <class Math, class A, bool kScaled, size_t kM>
void panel_tile(
    const typename A::Bits* a, size_t lda, const Panel<Math>& panel, size_t j0, F32* sums) {
  const typename A::Bits* a_rows[kM];
  const typename Math::Element* w_rows[kTileRows];
  F32 total[kM][kTileRows];
  unroll<kM>([&](auto i) {
    a_rows[i] = a + i * lda + panel.first;
    unroll<kTileRows>([&](auto j) { total[i][j] = sums[i * kPanelRows + j0 + j]; });
  });
  unroll<kTileRows>([&](auto j) { w_rows[j] = panel.weights[j0 + j]; });

  if constexpr (kScaled) {
    for (size_t p = 0, begin = 0; p < panel.n_pieces; begin = panel.piece_end[p++]) {
      F32 piece[kM][kTileRows];
      unroll<kM>([&](auto i) { unroll<kTileRows>([&](auto j) { piece[i][j] = zero(); }); });
      add_products<Math, A, InPanel<Math>>(a_rows, w_rows, begin, panel.piece_end[p], piece);
      unroll<kTileRows>([&](auto j) {
        const F32 scale = set(panel.scale[p][j0 + j]);
        unroll<kM>([&](auto i) { total[i][j] = fma(piece[i][j], scale, total[i][j]); });
      });
    }
  } else {
    add_products<Math, A, InPanel<Math>>(a_rows, w_rows, 0, panel.depth, total);
  }
  unroll<kM>([&](auto i) {
    unroll<kTileRows>([&](auto j) { sums[i * kPanelRows + j0 + j] = total[i][j]; });
  });
}

template <class Math, class A, bool kScaled>
void multiply_panel(const MatmulArgs& args,
                    size_t i0,
                    size_t n_rows,
                    const Panel<Math>& panel,
                    F32 (*sums)[kPanelRows]) {
  constexpr size_t kMost = kScaled ? kScaledTileRows : kPlainTileRows;
  const auto* a = static_cast<const typename A::Bits*>(args.a) + i0 * args.lda;
  for (size_t i = 0, step = 0; i < n_rows; i += step) {
    step = tile_rows<kMost>(n_rows - i);
    with_constant<kMost>(step, [&](auto rows) {
      for (size_t j = 0; j < kPanelRows; j += kTileRows) {
        panel_tile<Math, A, kScaled, decltype(rows){}>(a + i * args.lda, args.lda, panel, j,
                                                       sums[i]);
      }
    });
  }
}

template <class Math, class A, class W>
void panel_nt(const MatmulArgs& args) {
  Panel<Math> panel;
  alignas(64) F32 sums[kBlockRows][kPanelRows];
  for (size_t j0 = 0; j0 < args.n; j0 += kPanelRows) {
    const size_t columns = smaller(kPanelRows, args.n - j0);
    for (size_t i0 = 0; i0 < args.m; i0 += kBlockRows) {
      const size_t n_rows = smaller(kBlockRows, args.m - i0);
      for (size_t i = 0; i < n_rows; ++i) {
        for (size_t j = 0; j < kPanelRows; ++j)
          sums[i][j] = zero();
      }
      for (size_t k = 0; k < args.k; k += panel.depth) {
        fill_panel<Math, W>(args, j0, k, panel);
        multiply_panel<Math, A, W::kScaled>(args, i0, n_rows, panel, sums);
      }
      for (size_t i = 0; i < n_rows; ++i) {
        for (size_t j = 0; j < columns; ++j)
          write_sum(args, i0 + i, j0 + j, sums[i][j]);
      }
    }
  }
}

template <class Math, class A, class W>
void multiply_nt(const MatmulArgs& args) noexcept {
  if (args.m == 0) return;
  if (args.m <= kDirectRows) {
    direct_nt<Math, A, W>(args);
  } else {
    panel_nt<Math, A, W>(args);
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
