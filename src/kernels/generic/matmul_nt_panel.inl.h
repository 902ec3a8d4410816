// C = A W^T for many rows of A, where weights have scales or rows are too long for the caches;
// matmul_nt.inl.h has the order of the sums.
#pragma once

#include "kernels/generic/matmul_nt_direct.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

// Many rows: a panel of kPanelRows weight rows is converted a chunk of k at a
// time and used by a block of rows of A. Between chunks the totals rest in memory, whole.

constexpr size_t kPanels = 8;      // panels that share one pass over the block's rows of A
constexpr size_t kBlockRows = 64;  // their totals take most of the 160 KB of stack
constexpr size_t kPanelBytes = 16 * 1024;

template <class Math>
struct Panel {
  static constexpr size_t kDepth = kPanelBytes / (kPanelRows * sizeof(typename Math::Element));
  static constexpr size_t kMaxPieces = kDepth / kWeightBlock;

  // Rows an odd number of cache lines apart, so that they spread over the sets of a cache.
  alignas(64) typename Math::Element weights[kPanelRows][kDepth + 32];
  size_t first = 0;  // chunk [first, first + depth) of k
  size_t depth = 0;
  size_t n_pieces = 0;  // parts of the chunk with one scale each
  size_t piece_end[kMaxPieces];
  float scale[kMaxPieces][kPanelRows];
};

template <class Math, class W, class Reader>
inline void convert_row(const typename W::Bits* from,
                        size_t n,
                        const Prefetch& prefetch,
                        const Reader& reader,
                        typename Math::Element* to) {
  constexpr size_t kGroup = W::kVecs * Math::kStep;
  typename Math::Vec vecs[W::kVecs];
  size_t k = 0;
  for (; k + kGroup <= n; k += kGroup) {
    prefetch(from, k);
    reader.load(from + k, vecs);
    unroll<W::kVecs>([&](auto v) { Math::store(to + k + v * Math::kStep, vecs[v]); });
  }
  if (k == n) return;
  reader.load_first(from + k, n - k, vecs);
  unroll<W::kVecs>([&](auto v) {
    const size_t first = k + v * Math::kStep;
    if (first < n) Math::store_first(to + first, smaller(n - first, Math::kStep), vecs[v]);
  });
}

// Row j of the panel, the panel's chunk of k.
template <class Math, class W, bool kFolded>
inline void fill_row(const MatmulArgs& args, size_t row, size_t j, Panel<Math>& panel) {
  const auto* from = element<typename W::Bits>(args.w, row, panel.first);
  // The same rows' next chunk, or the first one of the rows that come next.
  const Prefetch prefetch = {
      panel.depth, args.k - panel.first,
      kPanels * kPanelRows * row_step<typename W::Bits>(args.w) - panel.first};
  if constexpr (kFolded && W::kScaled) {
    for (size_t k = 0, end = 0; k < panel.depth; k = end) {
      end = block_end(args.w.col0 + panel.first, k, panel.depth);
      const typename W::Folded reader(block_scale<W>(args.w, row, panel.first + k));
      convert_row<Math, W>(from + k, end - k, prefetch, reader, panel.weights[j] + k);
    }
  } else {
    convert_row<Math, W>(from, panel.depth, prefetch, AsStored<W>{}, panel.weights[j]);
  }
}

template <class Math, class W, bool kFolded>
DSA_LEAF void fill_panel(const MatmulArgs& args, size_t j0, size_t first, Panel<Math>& panel) {
  panel.first = first;
  panel.n_pieces = 0;
  size_t end = first;
  if constexpr (!W::kScaled) {
    end = smaller(args.k, first + Panel<Math>::kDepth);
    panel.piece_end[panel.n_pieces++] = end - first;
  }
  for (size_t n_blocks = 0; W::kScaled && end < args.k && n_blocks < Panel<Math>::kMaxPieces;
       ++n_blocks) {
    // Of the piece before this block.
    const size_t begin = panel.n_pieces < 2 ? first : first + panel.piece_end[panel.n_pieces - 2];
    if constexpr (!kFolded) {
      for (size_t j = 0; j < kPanelRows; ++j)
        panel.scale[panel.n_pieces][j] = block_scale<W>(args.w, smaller(j0 + j, args.n - 1), end);
    }
    // Folded pieces go on to the next block where that cuts no vector.
    const bool longer = kFolded && end != first && (end - begin) % Math::kStep == 0;
    end = block_end(args.w.col0, end, args.k);
    if (longer) --panel.n_pieces;
    panel.piece_end[panel.n_pieces++] = end - first;
  }
  panel.depth = end - first;
  for (size_t j = 0; j < kPanelRows; ++j)  // beyond the edge: the last row, not written
    fill_row<Math, W, kFolded>(args, smaller(j0 + j, args.n - 1), j, panel);
}

// kM rows of A times kTileRows rows of the panel; sums: [kM][kPanelRows].
template <class Math, class A, bool kFolded, size_t kM>
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
    if constexpr (kFolded) {
      add_products<Math, A, InPanel<Math>>(a_rows, w_rows, begin, panel.piece_end[p], NoPrefetch{},
                                           total);
      continue;
    }
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

template <class Math, class A, bool kFolded>
DSA_LEAF void multiply_panel(const MatmulArgs& args,
                             size_t i0,
                             size_t n_rows,
                             const Panel<Math>& panel,
                             F32 (*sums)[kPanelRows]) {
  const auto* a = static_cast<const typename A::Bits*>(args.a) + i0 * args.lda;
  for (size_t i = 0, step = 0; i < n_rows; i += step) {
    constexpr size_t kMost = kFolded ? kFoldedTileRows : kScaledTileRows;
    step = tile_rows<kMost>(n_rows - i);
    with_constant<kMost>(step, [&](auto rows) {
      for (size_t j = 0; j < kPanelRows; j += kTileRows)
        panel_tile<Math, A, kFolded, decltype(rows){}>(a + i * args.lda, args.lda, panel, j,
                                                       sums[i]);
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
template <class Math, class A, class W, bool kFolded>
void panel_block(const MatmulArgs& args, size_t i0, size_t j0) {
  Panel<Math> panel;
  alignas(64) F32 sums[kPanels][kBlockRows][kPanelRows];
  const size_t n_rows = smaller(kBlockRows, args.m - i0);
  const size_t n_columns = smaller(kPanels * kPanelRows, args.n - j0);
  for (size_t k = 0; k < args.k; k += panel.depth) {
    for (size_t p = 0; p * kPanelRows < n_columns; ++p) {
      fill_panel<Math, W, kFolded>(args, j0 + p * kPanelRows, k, panel);
      multiply_panel<Math, A, kFolded>(args, i0, n_rows, panel, sums[p]);
    }
  }
  for (size_t p = 0; p * kPanelRows < n_columns; ++p)
    write_panel(args, i0, n_rows, j0 + p * kPanelRows, sums[p][0]);
}

template <class Math, class A, class W, bool kFolded>
void panel_nt(const MatmulArgs& args) {
  for (size_t j = 0; j < args.n; j += kPanels * kPanelRows) {
    for (size_t i = 0; i < args.m; i += kBlockRows)
      panel_block<Math, A, W, kFolded>(args, i, j);
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
