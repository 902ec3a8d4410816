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

// Elements of a row of C from their sums.
inline void write_row(const MatmulArgs& args, size_t i, size_t j, size_t n, const float* sums) {
  float* c = args.c + i * args.ldc + j;
  for (size_t v = 0; v < n; ++v)
    c[v] = args.accumulate ? c[v] + sums[v] : sums[v];
}

// Direct tiles: weights go straight from memory to registers.

// Where to prefetch while element k is used: `distance` elements ahead in the same row, and past
// its end in the row `skip` elements on, which the next tile begins with.
struct Prefetch {
  size_t distance;
  size_t row_end;
  size_t skip;

  template <class Bits>
  void operator()(const Bits* row, size_t k) const {
    const size_t ahead = k + distance;
    __builtin_prefetch(row + (ahead < row_end ? ahead : ahead - row_end + skip));
  }
};

struct NoPrefetch {
  template <class Bits>
  void operator()(const Bits*, size_t) const {}
};

// Adds the products of elements [begin, end) of the rows.
template <class Math, class A, class W, size_t kM, size_t kN, class Fetch>
[[gnu::always_inline]] inline void add_products(const typename A::Bits* const (&a)[kM],
                                                const typename W::Bits* const (&w)[kN],
                                                size_t begin,
                                                size_t end,
                                                const Fetch& prefetch,
                                                F32 (&acc)[kM][kN]) {
  constexpr size_t kGroup = W::kVecs * Math::kStep;
  size_t k = begin;
  for (; k + kGroup <= end; k += kGroup) {
    unroll<kN>([&](auto j) {
      typename Math::Vec weights[W::kVecs];
      prefetch(w[j], k);
      W::load(w[j] + k, weights);
      unroll<W::kVecs>([&](auto v) {
        const typename Math::Vec weight = Math::in_register(weights[v]);
        unroll<kM>([&](auto i) {
          typename Math::Vec row[1];
          A::load(a[i] + k + v * Math::kStep, row);
          acc[i][j] = Math::dot(acc[i][j], row[0], weight);
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

constexpr size_t kPrefetchBytes = 1024;  // 512 and 2048 measure the same within the noise

template <class Math, class A, class W, size_t kM, size_t kN>
DSA_LEAF void direct_tile(const MatmulArgs& args, size_t i0, size_t j0) {
  const size_t columns = smaller(kN, args.n - j0);
  const typename A::Bits* a[kM];
  const typename W::Bits* w[kN];
  F32 total[kM][kN];
  const Prefetch prefetch = {smaller(kPrefetchBytes / sizeof(typename W::Bits), args.k), args.k,
                             kN * args.w.ld};
  unroll<kM>(
      [&](auto i) { a[i] = static_cast<const typename A::Bits*>(args.a) + (i0 + i) * args.lda; });
  unroll<kN>([&](auto j) {  // beyond the edge: the last row once more, not written
    w[j] = element<typename W::Bits>(args.w, j0 + smaller(j, columns - 1), 0);
    unroll<kM>([&](auto i) { total[i][j] = zero(); });
  });

  if constexpr (W::kScaled) {
    for (size_t k = 0, end = 0; k < args.k; k = end) {
      end = block_end(args.w.col0, k, args.k);
      F32 piece[kM][kN];
      unroll<kM>([&](auto i) { unroll<kN>([&](auto j) { piece[i][j] = zero(); }); });
      add_products<Math, A, W>(a, w, k, end, prefetch, piece);
      unroll<kN>([&](auto j) {
        const F32 scale = set(block_scale<W>(args.w, j0 + smaller(j, columns - 1), k));
        unroll<kM>([&](auto i) { total[i][j] = fma(piece[i][j], scale, total[i][j]); });
      });
    }
  } else {
    add_products<Math, A, W>(a, w, 0, args.k, prefetch, total);
  }
  constexpr size_t kGroups = (kM * kN + F32::kLanes - 1) / F32::kLanes;
  float sums[kGroups * F32::kLanes];
  unroll<kGroups>([&](auto g) {
    F32 rows[F32::kLanes];
    unroll<F32::kLanes>([&](auto lane) {
      constexpr size_t kAt = g * F32::kLanes + lane;
      rows[lane] = kAt < kM * kN ? total[kAt / kN % kM][kAt % kN] : zero();
    });
    store(sums + g * F32::kLanes, reduce_add_rows(rows));
  });
  for (size_t i = 0; i < kM; ++i)
    write_row(args, i0 + i, j0, columns, sums + i * kN);
}

template <bool kScaled>
constexpr const auto& direct_columns() {
  if constexpr (kScaled) {
    return kScaledColumns;
  } else {
    return kPlainColumns;
  }
}

template <class Math, class A, class W>
void direct_nt(const MatmulArgs& args) {
  constexpr const auto& kColumns = direct_columns<W::kScaled>();
  constexpr size_t kMost = sizeof(kColumns) / sizeof(kColumns[0]);
  with_constant<kMost>(tile_rows<kMost>(args.m), [&](auto rows) {
    constexpr size_t kM = decltype(rows){};
    constexpr size_t kN = kColumns[kM - 1];
    for (size_t j = 0; j < args.n; j += kN) {
      size_t i = 0;
      for (; i + kM <= args.m; i += kM)
        direct_tile<Math, A, W, kM, kN>(args, i, j);
      with_constant<kM>(args.m - i, [&](auto rest) {
        if (i < args.m) direct_tile<Math, A, W, decltype(rest){}, kN>(args, i, j);
      });
    }
  });
}

// Scaled weights for many rows: a panel of kPanelRows weight rows is converted a chunk of k at a
// time and used by a block of rows of A. Between chunks the totals rest in memory, whole.

constexpr size_t kPanels = 2;      // panels that share one pass over the block's rows of A
constexpr size_t kBlockRows = 64;  // their totals take most of the 80 KB of stack
constexpr size_t kPanelBytes = 16 * 1024;

template <class Math>
struct Panel {
  static constexpr size_t kDepth = kPanelBytes / (kPanelRows * sizeof(typename Math::Element));
  static constexpr size_t kMaxPieces = kDepth / kWeightBlock;

  alignas(64) typename Math::Element weights[kPanelRows][kDepth];
  size_t first = 0;  // chunk [first, first + depth) of k
  size_t depth = 0;
  size_t n_pieces = 0;  // parts of the chunk with one scale each
  size_t piece_end[kMaxPieces];
  float scale[kMaxPieces][kPanelRows];
};

template <class Math, class W>
inline void convert_row(const typename W::Bits* from,
                        size_t n,
                        const Prefetch& prefetch,
                        typename Math::Element* to) {
  constexpr size_t kGroup = W::kVecs * Math::kStep;
  typename Math::Vec vecs[W::kVecs];
  size_t k = 0;
  for (; k + kGroup <= n; k += kGroup) {
    prefetch(from, k);
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
DSA_LEAF void fill_panel(const MatmulArgs& args, size_t j0, size_t first, Panel<Math>& panel) {
  panel.first = first;
  panel.n_pieces = 0;
  size_t end = first;
  while (end < args.k && panel.n_pieces < Panel<Math>::kMaxPieces) {
    for (size_t j = 0; j < kPanelRows; ++j) {
      panel.scale[panel.n_pieces][j] = block_scale<W>(args.w, smaller(j0 + j, args.n - 1), end);
    }
    end = block_end(args.w.col0, end, args.k);
    panel.piece_end[panel.n_pieces++] = end - first;
  }
  panel.depth = end - first;
  // The same rows' next chunk, or the first one of the rows that come next.
  const Prefetch prefetch = {panel.depth, args.k - first, kPanels * kPanelRows * args.w.ld - first};
  for (size_t j = 0; j < kPanelRows; ++j) {
    const size_t row = smaller(j0 + j, args.n - 1);  // beyond the edge: the last row, not written
    convert_row<Math, W>(element<typename W::Bits>(args.w, row, first), panel.depth, prefetch,
                         panel.weights[j]);
  }
}

// kM rows of A times kTileRows rows of the panel; sums: [kM][kPanelRows].
template <class Math, class A, size_t kM>
inline void panel_tile(
    const typename A::Bits* a, size_t lda, const Panel<Math>& panel, size_t j0, F32* sums) {
  const typename A::Bits* a_rows[kM];
  const typename Math::Element* w_rows[kTileRows];
  F32 total[kM][kTileRows];
  unroll<kM>([&](auto i) { a_rows[i] = a + i * lda + panel.first; });
  unroll<kTileRows>([&](auto j) { w_rows[j] = panel.weights[j0 + j]; });
  if (panel.first == 0) {
    unroll<kM>([&](auto i) { unroll<kTileRows>([&](auto j) { total[i][j] = zero(); }); });
  } else {
    unroll<kM>([&](auto i) {
      unroll<kTileRows>([&](auto j) { total[i][j] = sums[i * kPanelRows + j0 + j]; });
    });
  }
  for (size_t p = 0, begin = 0; p < panel.n_pieces; begin = panel.piece_end[p++]) {
    F32 piece[kM][kTileRows];
    unroll<kM>([&](auto i) { unroll<kTileRows>([&](auto j) { piece[i][j] = zero(); }); });
    add_products<Math, A, InPanel<Math>>(a_rows, w_rows, begin, panel.piece_end[p], NoPrefetch{},
                                         piece);
    unroll<kTileRows>([&](auto j) {
      const F32 scale = set(panel.scale[p][j0 + j]);
      unroll<kM>([&](auto i) { total[i][j] = fma(piece[i][j], scale, total[i][j]); });
    });
  }
  unroll<kM>([&](auto i) {
    unroll<kTileRows>([&](auto j) { sums[i * kPanelRows + j0 + j] = total[i][j]; });
  });
}

template <class Math, class A>
DSA_LEAF void multiply_panel(const MatmulArgs& args,
                             size_t i0,
                             size_t n_rows,
                             const Panel<Math>& panel,
                             F32 (*sums)[kPanelRows]) {
  const auto* a = static_cast<const typename A::Bits*>(args.a) + i0 * args.lda;
  for (size_t i = 0, step = 0; i < n_rows; i += step) {
    step = tile_rows<kScaledTileRows>(n_rows - i);
    with_constant<kScaledTileRows>(step, [&](auto rows) {
      for (size_t j = 0; j < kPanelRows; j += kTileRows)
        panel_tile<Math, A, decltype(rows){}>(a + i * args.lda, args.lda, panel, j, sums[i]);
    });
  }
}

// totals: [n_rows][kPanelRows]
DSA_LEAF inline void write_panel(
    const MatmulArgs& args, size_t i0, size_t n_rows, size_t j0, const F32* totals) {
  float sums[kBlockRows * kPanelRows];
  const size_t n = n_rows * kPanelRows;
  for (size_t at = 0; at < n; at += F32::kLanes) {
    F32 rows[F32::kLanes];
    unroll<F32::kLanes>([&](auto lane) { rows[lane] = totals[smaller(at + lane, n - 1)]; });
    store(sums + at, reduce_add_rows(rows));
  }
  for (size_t i = 0; i < n_rows; ++i)
    write_row(args, i0 + i, j0, smaller(kPanelRows, args.n - j0), sums + i * kPanelRows);
}

// A block of C: kBlockRows rows, kPanels panels of columns.
template <class Math, class A, class W>
void panel_block(const MatmulArgs& args, size_t i0, size_t j0) {
  Panel<Math> panel;
  alignas(64) F32 sums[kPanels][kBlockRows][kPanelRows];
  const size_t n_rows = smaller(kBlockRows, args.m - i0);
  const size_t n_columns = smaller(kPanels * kPanelRows, args.n - j0);
  for (size_t k = 0; k < args.k; k += panel.depth) {
    for (size_t p = 0; p * kPanelRows < n_columns; ++p) {
      fill_panel<Math, W>(args, j0 + p * kPanelRows, k, panel);
      multiply_panel<Math, A>(args, i0, n_rows, panel, sums[p]);
    }
  }
  for (size_t p = 0; p * kPanelRows < n_columns; ++p)
    write_panel(args, i0, n_rows, j0 + p * kPanelRows, sums[p][0]);
}

template <class Math, class A, class W>
void panel_nt(const MatmulArgs& args) {
  for (size_t j = 0; j < args.n; j += kPanels * kPanelRows) {
    for (size_t i = 0; i < args.m; i += kBlockRows)
      panel_block<Math, A, W>(args, i, j);
  }
}

template <class Math, class A, class W>
void multiply_nt(const MatmulArgs& args) noexcept {
  if (args.m == 0 || args.n == 0) return;
  if constexpr (W::kScaled) {
    if (args.m > kMaxDirectRows && args.k != 0) return panel_nt<Math, A, W>(args);
  }
  direct_nt<Math, A, W>(args);
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
