// C[i,j] (+)= sum_k A[i,k] W[k,j]: lanes run along j.
//
// The accumulators are elements of C, so C itself holds them between chunks of k; the products of
// an element are added in the order of k (bf16: pairs of them), starting from 0 or, when
// accumulating, from C. Scaled weights: k is cut at the edges of the scale blocks, each piece has
// accumulators of its own, and C = piece * scale + C.
#pragma once

#include "kernels/generic/matmul_common.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr size_t kTileColumns = kTileVectors * F32::kLanes;
constexpr size_t kColumnPanelBytes = 16 * 1024;

// Rows [first, first + depth) of W, columns [column, column + n_columns), converted:
// weights[k / kPair][column][k % kPair]; columns beyond n_columns are 0.
template <class Math>
struct ColumnPanel {
  static constexpr size_t kPair = Math::kPair;
  static constexpr size_t kStepElements = kTileColumns * kPair;
  static constexpr size_t kDepth =
      kColumnPanelBytes / (kTileColumns * sizeof(typename Math::Element));

  alignas(64) typename Math::Element weights[kDepth / kPair][kStepElements];
  size_t column = 0;
  size_t n_columns = 0;
  size_t first = 0;
  size_t depth = 0;
  float scale[kTileColumns];
};

template <class Math, class W>
inline void load_columns(const typename W::Bits* from,
                         size_t n,
                         typename Math::Vec (&vecs)[kTileColumns / Math::kStep]) {
  constexpr size_t kGroup = W::kVecs * Math::kStep;
  static_assert(kTileColumns % kGroup == 0);
  unroll<kTileColumns / kGroup>([&](auto g) {
    typename Math::Vec group[W::kVecs];
    if (n >= (g + 1) * kGroup) {
      W::load(from + g * kGroup, group);
    } else {
      W::load_first(from + smaller(n, g * kGroup), n - smaller(n, g * kGroup), group);
    }
    unroll<W::kVecs>([&](auto v) { vecs[g * W::kVecs + v] = group[v]; });
  });
}

template <class Math, class W>
void fill_rows(const MatmulArgs& args, ColumnPanel<Math>& panel) {
  constexpr size_t kVecs = kTileColumns / Math::kStep;
  typename Math::Vec row[kVecs];
  for (size_t k = 0; k < panel.depth; k += Math::kPair) {
    const auto* from = element<typename W::Bits>(args.w, panel.first + k, panel.column);
    typename Math::Element* to = panel.weights[k / Math::kPair];
    load_columns<Math, W>(from, panel.n_columns, row);
    if constexpr (Math::kPair == 1) {
      unroll<kVecs>([&](auto v) { Math::store(to + v * Math::kStep, row[v]); });
    } else {
      typename Math::Vec next[kVecs] = {};
      if (k + 1 < panel.depth) load_columns<Math, W>(from + args.w.ld, panel.n_columns, next);
      unroll<kVecs>([&](auto v) {
        typename Math::Vec mixed[2];
        Math::interleave(row[v], next[v], mixed);
        Math::store(to + 2 * v * Math::kStep, mixed[0]);
        Math::store(to + (2 * v + 1) * Math::kStep, mixed[1]);
      });
    }
  }
}

template <class Math, class W>
void fill_panel(const MatmulArgs& args, size_t first, ColumnPanel<Math>& panel) {
  panel.first = first;
  size_t end = args.k;
  if constexpr (W::kScaled) end = block_end(args.w.row0, first, end);
  panel.depth = smaller(end - first, ColumnPanel<Math>::kDepth);
  fill_rows<Math, W>(args, panel);
  if constexpr (W::kScaled) {
    for (size_t j = 0; j < kTileColumns; ++j) {
      panel.scale[j] = block_scale(args.w, first, panel.column + smaller(j, panel.n_columns - 1));
    }
  }
}

// Vector v of a row of C, of which n columns from the panel's first exist.
inline F32 load_c(const float* c, size_t v, size_t n) {
  const size_t first = v * F32::kLanes;
  if (n >= first + F32::kLanes) return load(c + first);
  return n > first ? load_first(c + first, n - first) : zero();
}
inline void store_c(float* c, size_t v, size_t n, F32 x) {
  const size_t first = v * F32::kLanes;
  if (n >= first + F32::kLanes) {
    store(c + first, x);
  } else if (n > first) {
    store_first(c + first, n - first, x);
  }
}

// Adds the products of rows [begin, end) of the panel. kPart: how many Elements of the last pair
// exist.
template <class Math, class A, size_t kM, size_t kPart>
[[gnu::always_inline]] inline void add_rows(const typename A::Bits* a,
                                            size_t lda,
                                            const ColumnPanel<Math>& panel,
                                            size_t begin,
                                            size_t end,
                                            F32 (&acc)[kM][kTileVectors]) {
  for (size_t k = begin; k < end; k += Math::kPair) {
    const typename Math::Element* weights = panel.weights[k / Math::kPair];
    typename Math::Vec row[kTileVectors];
    unroll<kTileVectors>([&](auto v) { row[v] = Math::load(weights + v * Math::kStep); });
    unroll<kM>([&](auto i) {
      const typename Math::Vec factor = A::template broadcast<kPart>(a + i * lda + k);
      unroll<kTileVectors>([&](auto v) { acc[i][v] = Math::dot(acc[i][v], factor, row[v]); });
    });
  }
}

// kM rows of C from row i0, the panel's columns.
template <class Math, class A, bool kScaled, size_t kM>
void column_tile(const MatmulArgs& args, size_t i0, const ColumnPanel<Math>& panel) {
  const auto* a = static_cast<const typename A::Bits*>(args.a) + i0 * args.lda + panel.first;
  float* c = args.c + i0 * args.ldc + panel.column;
  const bool from_zero = panel.first == 0 && !args.accumulate;
  const auto before = [&](size_t i, size_t v) {
    return from_zero ? zero() : load_c(c + i * args.ldc, v, panel.n_columns);
  };
  F32 acc[kM][kTileVectors];
  unroll<kM>([&](auto i) {
    unroll<kTileVectors>([&](auto v) { acc[i][v] = kScaled ? zero() : before(i, v); });
  });
  const size_t pairs_end = panel.depth / Math::kPair * Math::kPair;
  add_rows<Math, A, kM, Math::kPair>(a, args.lda, panel, 0, pairs_end, acc);
  add_rows<Math, A, kM, 1>(a, args.lda, panel, pairs_end, panel.depth, acc);
  unroll<kM>([&](auto i) {
    unroll<kTileVectors>([&](auto v) {
      F32 sum = acc[i][v];
      if constexpr (kScaled) sum = fma(sum, load(panel.scale + v * F32::kLanes), before(i, v));
      store_c(c + i * args.ldc, v, panel.n_columns, sum);
    });
  });
}

inline void clear(const MatmulArgs& args) {
  for (size_t i = 0; i < args.m; ++i) {
    for (size_t j = 0; j < args.n; ++j)
      args.c[i * args.ldc + j] = 0.0F;
  }
}

template <class Math, class A, class W>
void multiply_nn(const MatmulArgs& args) noexcept {
  if (args.k == 0 && !args.accumulate) clear(args);
  ColumnPanel<Math> panel;
  for (size_t j = 0; j < args.n; j += kTileColumns) {
    panel.column = j;
    panel.n_columns = smaller(kTileColumns, args.n - j);
    for (size_t k = 0; k < args.k; k += panel.depth) {
      fill_panel<Math, W>(args, k, panel);
      for (size_t i = 0, step = 0; i < args.m; i += step) {
        step = tile_rows<kColumnTileRows>(args.m - i);
        with_constant<kColumnTileRows>(step, [&](auto rows) {
          column_tile<Math, A, W::kScaled, decltype(rows){}>(args, i, panel);
        });
      }
    }
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
