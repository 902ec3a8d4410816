// Tiles of C = A W^T for which weights go straight from memory to registers; matmul_nt.inl.h has
// the order of the sums.
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

// What to prefetch while element k is used: `distance` elements ahead in the same row, and past its
// end in the row `skip` elements on, which the next tile begins with. Into the L2 cache: the queue
// of misses of the L1 cache is too short for the bandwidth of memory.
struct Prefetch {
  size_t distance;
  size_t row_end;
  size_t skip;

  template <class Bits>
  void operator()(const Bits* row, size_t k) const {
    const size_t ahead = k + distance;
    __builtin_prefetch(row + (ahead < row_end ? ahead : ahead - row_end + skip), 0, 2);
  }
};

struct NoPrefetch {
  template <class Bits>
  void operator()(const Bits*, size_t) const {}
};

// Weights as stored, and where the tier folds scales, times a power of two.
template <class W>
struct AsStored {
  template <class Vecs>
  void load(const typename W::Bits* p, Vecs& vecs) const {
    W::load(p, vecs);
  }
  template <class Vecs>
  void load_first(const typename W::Bits* p, size_t n, Vecs& vecs) const {
    W::load_first(p, n, vecs);
  }
};

// Adds the products of elements [begin, end) of the rows.
template <class Math,
          class A,
          class W,
          size_t kM,
          size_t kN,
          class Fetch,
          class Reader = AsStored<W>>
[[gnu::always_inline]] inline void add_products(const typename A::Bits* const (&a)[kM],
                                                const typename W::Bits* const (&w)[kN],
                                                size_t begin,
                                                size_t end,
                                                const Fetch& prefetch,
                                                F32 (&acc)[kM][kN],
                                                const Reader& reader = {}) {
  constexpr size_t kGroup = W::kVecs * Math::kStep;
  size_t k = begin;
  for (; k + kGroup <= end; k += kGroup) {
    unroll<kN>([&](auto j) {
      typename Math::Vec weights[W::kVecs];
      prefetch(w[j], k);
      reader.load(w[j] + k, weights);
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
    reader.load_first(w[j] + k, end - k, weights);
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

// columns: at most kN; with kFolded of one scale block.
template <class Math, class A, class W, bool kFolded, size_t kM, size_t kN>
DSA_LEAF void direct_tile(const MatmulArgs& args, size_t i0, size_t j0, size_t columns) {
  const typename A::Bits* a[kM];
  const typename W::Bits* w[kN];
  F32 total[kM][kN];
  const Prefetch prefetch = {
      args.k, args.k,
      kN * row_step<typename W::Bits>(args.w)};  // the next tile, while this computes
  unroll<kM>(
      [&](auto i) { a[i] = static_cast<const typename A::Bits*>(args.a) + (i0 + i) * args.lda; });
  unroll<kN>([&](auto j) {  // beyond the edge: the last row once more, not written
    w[j] = element<typename W::Bits>(args.w, j0 + smaller(j, columns - 1), 0);
    unroll<kM>([&](auto i) { total[i][j] = zero(); });
  });

  if constexpr (kFolded) {
    for (size_t k = 0, end = 0; k < args.k; k = end) {
      end = block_end(args.w.col0, k, args.k);
      const typename W::Folded reader(block_scale<W>(args.w, j0, k));
      add_products<Math, A, W>(a, w, k, end, prefetch, total, reader);
    }
  } else if constexpr (W::kScaled) {
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

template <class Math, class A, class W, bool kFolded>
void direct_nt(const MatmulArgs& args) {
  constexpr const auto& kColumns = direct_columns < W::kScaled && !kFolded > ();
  constexpr size_t kMost = sizeof(kColumns) / sizeof(kColumns[0]);
  with_constant<kMost>(tile_rows<kMost>(args.m), [&](auto rows) {
    constexpr size_t kM = decltype(rows){};
    constexpr size_t kN = kColumns[kM - 1];
    for (size_t j = 0, end = 0; j < args.n; j = end) {
      end = smaller(args.n, j + kN);
      if constexpr (kFolded) end = smaller(end, block_end(args.w.row0, j, args.n));
      size_t i = 0;
      for (; i + kM <= args.m; i += kM)
        direct_tile<Math, A, W, kFolded, kM, kN>(args, i, j, end - j);
      with_constant<kM>(args.m - i, [&](auto rest) {
        if (i < args.m) direct_tile<Math, A, W, kFolded, decltype(rest){}, kN>(args, i, j, end - j);
      });
    }
  });
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
