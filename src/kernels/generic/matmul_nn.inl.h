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

// How many rows of W are converted together, and the longest piece of scaled weights.
template <class Math>
constexpr size_t kChunkDepth = 16 * 1024 / (kTileColumns * sizeof(typename Math::Element));

template <class Math, class W>
inline size_t chunk_end(const MatmulArgs& args, size_t first) {
  const size_t end = smaller(args.k, first + kChunkDepth<Math>);
  return W::kScaled ? block_end(args.w.row0, first, end) : end;
}

// n <= kTileColumns values of one row; 0 beyond them.
template <class Math, class W>
[[gnu::always_inline]] inline void load_columns(
    const typename W::Bits* from,
    size_t n,
    typename Math::Vec (&vecs)[kTileColumns / Math::kStep]) {
  constexpr size_t kGroup = W::kVecs * Math::kStep;
  static_assert(kTileColumns % kGroup == 0);
  unroll<kTileColumns / kGroup>([&](auto g) {
    typename Math::Vec group[W::kVecs];
    if (n >= (g + 1) * kGroup) {
      W::load(from + g * kGroup, group);
    } else {
      const size_t first = smaller(n, g * kGroup);
      W::load_first(from + first, n - first, group);
    }
    unroll<W::kVecs>([&](auto v) { vecs[g * W::kVecs + v] = group[v]; });
  });
}

// The kPair rows of W that one step of dot consumes, lane by lane; kCount of them exist.
template <class Math, class W, size_t kCount>
[[gnu::always_inline]] inline void load_step(const typename W::Bits* from,
                                             size_t ld,
                                             size_t n,
                                             typename Math::Vec (&step)[kTileVectors]) {
  if constexpr (Math::kPair == 1) {
    load_columns<Math, W>(from, n, step);
  } else {
    constexpr size_t kVecs = kTileColumns / Math::kStep;
    typename Math::Vec row[kVecs];
    typename Math::Vec next[kVecs] = {};
    load_columns<Math, W>(from, n, row);
    if constexpr (kCount == 2) load_columns<Math, W>(from + ld, n, next);
    unroll<kVecs>([&](auto v) {
      typename Math::Vec mixed[2];
      Math::interleave(row[v], next[v], mixed);
      step[2 * v] = mixed[0];
      step[2 * v + 1] = mixed[1];
    });
  }
}

// acc += the products of one step with kM rows of A.
template <class Math, class A, size_t kM, size_t kCount>
[[gnu::always_inline]] inline void add_step(const typename A::Bits* a,
                                            size_t lda,
                                            const typename Math::Vec (&step)[kTileVectors],
                                            F32 (&acc)[kM][kTileVectors]) {
  unroll<kM>([&](auto i) {
    const typename Math::Vec factor = A::template broadcast<kCount>(a + i * lda);
    unroll<kTileVectors>([&](auto v) { acc[i][v] = Math::dot(acc[i][v], factor, step[v]); });
  });
}

// Vector v of a row of C or of sums, of which n columns exist.
inline F32 load_vector(const float* c, size_t v, size_t n) {
  const size_t first = v * F32::kLanes;
  if (n >= first + F32::kLanes) return load(c + first);
  return n > first ? load_first(c + first, n - first) : zero();
}
inline void store_vector(float* c, size_t v, size_t n, F32 x) {
  const size_t first = v * F32::kLanes;
  if (n >= first + F32::kLanes) {
    store(c + first, x);
  } else if (n > first) {
    store_first(c + first, n - first, x);
  }
}

// Many rows of A: kTileColumns columns of a chunk of W are converted, then used by every row.

template <class Math>
struct ColumnPanel {
  alignas(64)
      typename Math::Element steps[kChunkDepth<Math> / Math::kPair][kTileColumns * Math::kPair];
  size_t column = 0;
  size_t n_columns = 0;
  size_t first = 0;  // rows [first, first + depth) of W
  size_t depth = 0;
  float scale[kTileColumns];
};

template <class Math, class W>
DSA_LEAF void fill_panel(const MatmulArgs& args, size_t first, ColumnPanel<Math>& panel) {
  constexpr size_t kPair = Math::kPair;
  const size_t ld = row_step<typename W::Bits>(args.w);
  panel.first = first;
  panel.depth = chunk_end<Math, W>(args, first) - first;
  const auto convert = [&](size_t k, auto count) {
    typename Math::Vec step[kTileVectors];
    load_step<Math, W, decltype(count){}>(
        element<typename W::Bits>(args.w, first + k, panel.column), ld, panel.n_columns, step);
    typename Math::Element* to = panel.steps[k / kPair];
    unroll<kTileVectors>([&](auto v) { Math::store(to + v * Math::kStep, step[v]); });
  };
  size_t k = 0;
  for (; k + kPair <= panel.depth; k += kPair)
    convert(k, Index<kPair>{});
  if (k < panel.depth) convert(k, Index<1>{});
  if constexpr (W::kScaled) {
    for (size_t j = 0; j < kTileColumns; ++j) {
      panel.scale[j] =
          block_scale<W>(args.w, first, panel.column + smaller(j, panel.n_columns - 1));
    }
  }
}

// kM rows of C from row i0, the panel's columns.
template <class Math, class A, bool kScaled, size_t kM>
DSA_LEAF void column_tile(const MatmulArgs& args, size_t i0, const ColumnPanel<Math>& panel) {
  constexpr size_t kPair = Math::kPair;
  const auto* a = static_cast<const typename A::Bits*>(args.a) + i0 * args.lda + panel.first;
  float* c = args.c + i0 * args.ldc + panel.column;
  const bool from_zero = panel.first == 0 && !args.accumulate;
  const auto before = [&](size_t i, size_t v) {
    return from_zero ? zero() : load_vector(c + i * args.ldc, v, panel.n_columns);
  };
  F32 acc[kM][kTileVectors];
  unroll<kM>([&](auto i) {
    unroll<kTileVectors>([&](auto v) { acc[i][v] = kScaled ? zero() : before(i, v); });
  });
  typename Math::Vec step[kTileVectors];
  size_t k = 0;
  for (; k + kPair <= panel.depth; k += kPair) {
    const typename Math::Element* from = panel.steps[k / kPair];
    unroll<kTileVectors>(
        [&](auto v) { step[v] = Math::in_register(Math::load(from + v * Math::kStep)); });
    add_step<Math, A, kM, kPair>(a + k, args.lda, step, acc);
  }
  if (k < panel.depth) {
    const typename Math::Element* from = panel.steps[k / kPair];
    unroll<kTileVectors>([&](auto v) { step[v] = Math::load(from + v * Math::kStep); });
    add_step<Math, A, kM, 1>(a + k, args.lda, step, acc);
  }
  unroll<kM>([&](auto i) {
    unroll<kTileVectors>([&](auto v) {
      F32 sum = acc[i][v];
      if constexpr (kScaled) sum = fma(sum, load(panel.scale + v * F32::kLanes), before(i, v));
      store_vector(c + i * args.ldc, v, panel.n_columns, sum);
    });
  });
}

template <class Math, class A, class W>
void panel_nn(const MatmulArgs& args) {
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

// Few rows of A: W is read once, in the order it lies in memory but for groups of kStripRows rows,
// and the sums of a strip of columns stay in the first-level cache.

constexpr size_t kStripRows = 4;    // more would scatter the reads, and no prefetcher follow
constexpr size_t kStripAhead = 16;  // rows from use to prefetch into the L2 cache
constexpr size_t kStripColumns = 512;

// Adds rows [first, end) of W, at most kStripRows, times A to one tile of sums.
template <class Math, class A, class W, size_t kM>
DSA_LEAF void strip_tile(const MatmulArgs& args,
                         size_t first,
                         size_t end,
                         size_t column,
                         size_t n_columns,
                         float* sums,
                         size_t ld_sums) {
  constexpr size_t kPair = Math::kPair;
  using Bits = typename W::Bits;
  const auto* a = static_cast<const typename A::Bits*>(args.a);
  const size_t ld = row_step<Bits>(args.w);
  F32 acc[kM][kTileVectors];
  unroll<kM>([&](auto i) {
    unroll<kTileVectors>(
        [&](auto v) { acc[i][v] = load_vector(sums + i * ld_sums, v, n_columns); });
  });
  typename Math::Vec step[kTileVectors];
  size_t k = first;
  for (; k + kPair <= end; k += kPair) {
    const Bits* from = element<Bits>(args.w, k, column);
    for (size_t row = kStripAhead; row < kStripAhead + kPair; ++row) {
      for (size_t j = 0; j < kTileColumns; j += 64 / sizeof(Bits))
        __builtin_prefetch(from + row * ld + j, 0, 2);
    }
    load_step<Math, W, kPair>(from, ld, n_columns, step);
    add_step<Math, A, kM, kPair>(a + k, args.lda, step, acc);
  }
  if (k < end) {
    load_step<Math, W, 1>(element<Bits>(args.w, k, column), ld, n_columns, step);
    add_step<Math, A, kM, 1>(a + k, args.lda, step, acc);
  }
  unroll<kM>([&](auto i) {
    unroll<kTileVectors>(
        [&](auto v) { store_vector(sums + i * ld_sums, v, n_columns, acc[i][v]); });
  });
}

// C = pieces * scale + C for the columns of a strip.
template <class W>
DSA_LEAF void add_scaled_pieces(const MatmulArgs& args,
                                size_t k,
                                size_t column,
                                size_t n_columns,
                                const float (*pieces)[kStripColumns]) {
  for (size_t j = 0, end = 0; j < n_columns; j = end) {
    end = block_end(args.w.col0 + column, j, n_columns);
    const float scale = block_scale<W>(args.w, k, column + j);
    for (size_t i = 0; i < args.m; ++i) {
      float* c = args.c + i * args.ldc + column;
      for (size_t v = 0; v * F32::kLanes < end - j; ++v) {
        const F32 sum =
            fma(load_vector(pieces[i] + j, v, end - j), set(scale), load_vector(c + j, v, end - j));
        store_vector(c + j, v, end - j, sum);
      }
    }
  }
}

template <class Math, class A, class W, size_t kM>
void strip_nn(const MatmulArgs& args, size_t column, size_t n_columns) {
  alignas(64) float pieces[W::kScaled ? kM : 1][kStripColumns];
  float* sums = W::kScaled ? pieces[0] : args.c + column;
  const size_t ld_sums = W::kScaled ? kStripColumns : args.ldc;
  for (size_t chunk = 0, next = 0; chunk < args.k; chunk = next) {
    next = chunk_end<Math, W>(args, chunk);
    if constexpr (W::kScaled) {
      for (auto& row : pieces) {
        for (float& piece : row)
          piece = 0;
      }
    }
    for (size_t k = chunk; k < next; k += kStripRows) {
      for (size_t j = 0; j < n_columns; j += kTileColumns) {
        strip_tile<Math, A, W, kM>(args, k, smaller(next, k + kStripRows), column + j,
                                   smaller(kTileColumns, n_columns - j), sums + j, ld_sums);
      }
    }
    if constexpr (W::kScaled) add_scaled_pieces<W>(args, chunk, column, n_columns, pieces);
  }
}

inline void clear(const MatmulArgs& args) {
  for (size_t i = 0; i < args.m; ++i) {
    for (size_t j = 0; j < args.n; ++j)
      args.c[i * args.ldc + j] = 0.0F;
  }
}

template <class Math, class A, class W>
void multiply_nn(const MatmulArgs& args) noexcept {
  if (args.m == 0 || args.n == 0) return;
  const bool by_strips = args.m <= kStripMaxRows;
  if (!args.accumulate && (by_strips || args.k == 0)) clear(args);
  if (!by_strips) return panel_nn<Math, A, W>(args);
  with_constant<kStripMaxRows>(args.m, [&](auto rows) {
    for (size_t j = 0; j < args.n; j += kStripColumns)
      strip_nn<Math, A, W, decltype(rows){}>(args, j, smaller(kStripColumns, args.n - j));
  });
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
