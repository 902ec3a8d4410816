// The one inner loop of the indexer and of attention: a register tile of
//   acc[i][lane] += sum_k a[i][k] * b[k][lane]
// where a is broadcast and b is read a vector at a time. A "unit" is the 4 bytes of one broadcast:
// one f32 or a pair of bf16, as the Dot says. Every element of acc is summed in the order of k,
// whatever the shape of the tile. Requires DSA_TIER and that tier's tile.h before inclusion.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__clang__)
#define DSA_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DSA_UNROLL _Pragma("GCC unroll 16")
#endif
#define DSA_INLINE inline __attribute__((always_inline))

namespace dsa::kernels::DSA_TIER {
namespace {

// The broadcast side of a tile: unit k of row i is at data + i * row_bytes + k * step_bytes.
struct BroadcastRows {
  const uint8_t* data;
  size_t row_bytes;
  size_t step_bytes;

  DSA_INLINE const uint8_t* unit(size_t i, size_t k) const noexcept {
    return data + i * row_bytes + k * step_bytes;
  }
};

// Rows that lie anywhere, their units next to each other.
template <size_t kRows>
struct ListedRows {
  const float* row[kRows];

  DSA_INLINE const uint8_t* unit(size_t i, size_t k) const noexcept {
    return reinterpret_cast<const uint8_t*>(row[i] + k);
  }
};

// The vector side of a tile: unit k of lane l is at data + k * step + l.
struct VectorUnits {
  const float* data;
  size_t step;

  DSA_INLINE const float* unit(size_t k) const noexcept { return data + k * step; }
};

// The same, where unit k is number list[k] of those in memory.
struct ListedUnits {
  const float* data;
  size_t step;
  const uint8_t* list;

  DSA_INLINE const float* unit(size_t k) const noexcept { return data + list[k] * step; }
};

// What a tile fetches into the L2 cache while it computes: a line of the rows at each step.
struct Prefetch {
  const uint8_t* const* rows;
  size_t n_rows;
  size_t row_bytes;
  size_t offset = 0;

  DSA_INLINE void step() noexcept {
    if (n_rows == 0) return;
    const size_t last = row_bytes - 1;
    __builtin_prefetch(*rows + offset, 0, 2);
    if (offset < last) {
      offset = offset + 64 < last ? offset + 64 : last;
    } else {
      offset = 0;
      ++rows;
      --n_rows;
    }
  }
};
struct NoPrefetch {
  DSA_INLINE void step() noexcept {}
};

template <class Dot, class Rows, class Units, size_t kRows, size_t kVectors, class Ahead>
DSA_INLINE void multiply_tile(const Rows& a,
                              const Units& b,
                              size_t n_units,
                              Ahead& ahead,
                              F32 (&acc)[kRows][kVectors]) noexcept {
  for (size_t k = 0; k < n_units; ++k) {
    ahead.step();
    const float* vectors = b.unit(k);
    typename Dot::Operand row[kVectors];
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j)
      row[j] = Dot::load(vectors + j * kLanes);
    DSA_UNROLL
    for (size_t i = 0; i < kRows; ++i) {
      const typename Dot::Operand unit = Dot::broadcast(a.unit(i, k));
      DSA_UNROLL
      for (size_t j = 0; j < kVectors; ++j) {
        acc[i][j] = Dot::multiply_add(unit, row[j], acc[i][j]);
      }
    }
  }
}

template <class Dot, size_t kRows, size_t kVectors, class Ahead>
DSA_INLINE void dot_tile(const BroadcastRows& a,
                         const float* b,
                         size_t b_step,
                         size_t n_units,
                         Ahead& ahead,
                         F32 (&acc)[kRows][kVectors]) noexcept {
  multiply_tile<Dot>(a, VectorUnits{b, b_step}, n_units, ahead, acc);
}

template <class Dot, size_t kRows, size_t kVectors>
DSA_INLINE void dot_tile(const BroadcastRows& a,
                         const float* b,
                         size_t b_step,
                         size_t n_units,
                         F32 (&acc)[kRows][kVectors]) noexcept {
  NoPrefetch nothing;
  dot_tile<Dot>(a, b, b_step, n_units, nothing, acc);
}

template <size_t kRows, size_t kVectors>
DSA_INLINE void clear_tile(F32 (&acc)[kRows][kVectors]) noexcept {
  DSA_UNROLL
  for (size_t i = 0; i < kRows; ++i) {
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j)
      acc[i][j] = zero();
  }
}

template <size_t kValue>
struct Constant {
  static constexpr size_t value = kValue;
};

// Splits n vectors into groups as wide as a tile can be, then halves of that: calls
// body(Constant<width>, first vector of the group). Packed operands are stored group by group.
template <size_t kWidth = kGroupVectors, class Body>
DSA_INLINE void for_each_group(size_t n_vectors, const Body& body, size_t first = 0) noexcept {
  for (; first + kWidth <= n_vectors; first += kWidth)
    body(Constant<kWidth>{}, first);
  if constexpr (kWidth > 1) for_each_group<kWidth / 2>(n_vectors, body, first);
}

// Packs rows of f32 so that lane l of a tile is row l:
//   packed[group][unit][lane of the group], a group of w vectors at vector v starting at
//   v * kLanes * n_units. n_lanes is a multiple of kLanes; row(l) is null for a lane of zeros.
template <class Dot, class RowOf>
inline void pack_lanes(const RowOf& row, size_t n_lanes, size_t n_units, float* packed) noexcept {
  constexpr size_t kPart = 64;  // units converted at a time
  alignas(64) float part[kLanes][kPart];
  for_each_group(n_lanes / kLanes, [&](auto width, size_t first) {
    constexpr size_t kStep = decltype(width)::value * kLanes;
    float* group = packed + first * kLanes * n_units;
    for (size_t vector = 0; vector < decltype(width)::value; ++vector) {
      for (size_t begin = 0; begin < n_units; begin += kPart) {
        const size_t n = n_units - begin < kPart ? n_units - begin : kPart;
        for (size_t lane = 0; lane < kLanes; ++lane) {
          const float* source = row((first + vector) * kLanes + lane);
          if (source == nullptr) {
            for (size_t u = 0; u < n; ++u)
              part[lane][u] = 0;
          } else {
            Dot::pack(source + begin * Dot::kPerUnit, n, part[lane]);
          }
        }
        float* to = group + begin * kStep + vector * kLanes;
        size_t u = 0;
        for (; u + kLanes <= n; u += kLanes)
          transpose(part[0] + u, kPart, to + u * kStep, kStep);
        for (; u < n; ++u) {
          for (size_t lane = 0; lane < kLanes; ++lane)
            to[u * kStep + lane] = part[lane][u];
        }
      }
    }
  });
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
