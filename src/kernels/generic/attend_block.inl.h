// One block of cached rows folded into the running attention of a chunk of queries: gather,
// score, softmax, weigh. attend.inl.h has the whole picture.
// Requires DSA_TIER and that tier's tile.h before inclusion.
#pragma once

#include "kernels/generic/attend_shape.inl.h"
#include "kernels/generic/vector_exp.inl.h"
#include "kernels/generic/vector_loop.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

// The rows of a block that a group of lanes is folded with: whole units of weights, so that the
// values of a block are paired up once for all groups.
template <class Dot>
struct UnitList {
  RowBits rows;  // all rows of a unit or none
  size_t n_units = 0;
  uint8_t units[kBlockRows / Dot::kPerUnit];  // ascending

  explicit UnitList(const RowBits& seen) noexcept {
    constexpr uint64_t kUnit = Dot::kPerUnit == 2 ? 3 : 1;
    for (size_t i = 0; i < kBlockWords; ++i) {
      for (uint64_t left = seen.word[i]; left != 0; left &= ~rows.word[i]) {
        const size_t unit = static_cast<size_t>(__builtin_ctzll(left)) / Dot::kPerUnit;
        units[n_units++] = static_cast<uint8_t>(64 / Dot::kPerUnit * i + unit);
        rows.word[i] |= kUnit << unit * Dot::kPerUnit;
      }
    }
  }
  size_t n_rows() const noexcept { return n_units * Dot::kPerUnit; }
  bool is_all(size_t n) const noexcept { return n_rows() >= n; }  // of a block of n rows
  size_t row(size_t i) const noexcept {  // the last once more beyond the end
    const size_t unit = units[i / Dot::kPerUnit < n_units ? i / Dot::kPerUnit : n_units - 1];
    return unit * Dot::kPerUnit + i % Dot::kPerUnit;
  }
};

constexpr size_t kRowsAhead = 4;  // of the row at hand, fetched into the L1 cache

// Copies the wanted rows of a block into units; the others become zeros.
template <class Rows>
void gather(const Attend& a, size_t begin, size_t n, const RowBits& wanted) noexcept {
  const AttendArgs& args = a.args;
  const size_t row_bytes = args.layout.row_bytes();
  const size_t n_tile = round_up_to(n, kTileAccumulators);
  for (size_t j = 0; j < n_tile; ++j) {
    if (j + kRowsAhead < n && wanted.has(j + kRowsAhead)) {
      const uint8_t* next = a.cached(args.rows[begin + j + kRowsAhead]);
      for (size_t line = 0; line < row_bytes; line += 64)
        __builtin_prefetch(next + line);
    }
    float* units = a.keys + j * a.shape.stride;
    if (!wanted.has(j)) {
      __builtin_memset(units, 0, sizeof(float) * a.shape.stride);
      continue;
    }
    Rows::load(args.layout, a.cached(args.rows[begin + j]), units);
    __builtin_memset(units + a.shape.n_units, 0,
                     sizeof(float) * (a.shape.stride - a.shape.n_units));
  }
}

// Logits of rows [first, first + kRows) of the list, for kVectors vectors of lanes.
template <class Dot, size_t kRows, size_t kVectors>
void score_rows(const Attend& a,
                const UnitList<Dot>& list,
                bool all,
                size_t first,
                const float* query,
                size_t lane,
                Trickle& ahead) noexcept {
  F32 acc[kRows][kVectors];
  clear_tile(acc);
  const VectorUnits lanes = {query, kVectors * kLanes};
  if (all) {
    const BroadcastRows keys = {reinterpret_cast<const uint8_t*>(a.keys + first * a.shape.stride),
                                sizeof(float) * a.shape.stride, sizeof(float)};
    multiply_tile<Dot>(keys, lanes, a.shape.n_units, ahead, acc);
  } else {
    ListedRows<kRows> keys;
    for (size_t i = 0; i < kRows; ++i)
      keys.row[i] = a.keys + list.row(first + i) * a.shape.stride;
    multiply_tile<Dot>(keys, lanes, a.shape.n_units, ahead, acc);
  }
  const F32 scale = set(a.args.scale);
  DSA_UNROLL
  for (size_t i = 0; i < kRows; ++i) {
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j) {
      store(a.logit(first + i, lane + j * kLanes), mul(acc[i][j], scale));
    }
  }
}

// A group of lanes, which begins at `begin`, times the listed rows of a block of n.
template <class Dot>
void score_group(
    const Attend& a, size_t n, size_t begin, const UnitList<Dot>& list, Trickle& ahead) noexcept {
  const bool all = list.is_all(n);
  const float* query = a.query + begin * a.shape.n_units;
  for_each_group(a.group.lanes / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    // With one vector more rows would need more pointers than there are registers.
    constexpr size_t kRows = kVectors == 1 ? kTileAccumulators / 2 : kTileAccumulators / kVectors;
    const float* part = query + vector * kLanes * a.shape.n_units;
    const size_t lane = begin + vector * kLanes;
    for (size_t row = 0; row < list.n_rows(); row += kRows)
      score_rows<Dot, kRows, kVectors>(a, list, all, row, part, lane, ahead);
  });
}

// Logits of listed rows a query does not see become -inf. seen: by each query of the chunk.
template <class Dot>
void mask_group(const Attend& a,
                size_t first_query,
                const RowBits* seen,
                const UnitList<Dot>& list) noexcept {
  for (size_t q = first_query; q < a.n_queries && q < first_query + a.group.queries; ++q) {
    list.rows.for_each_without(seen[q], [&](size_t row) {
      const size_t place = list.rows.count_below(row);
      for (size_t h = 0; h < a.shape.n_heads; ++h)
        *a.logit(place, a.lane(q) + h) = -__builtin_inff();
    });
  }
}

template <class Dot>
DSA_INLINE void store_unit(float* units, const F32 (&weight)[Dot::kPerUnit]) noexcept {
  if constexpr (Dot::kPerUnit == 1) {
    store(units, weight[0]);
  } else {
    store(units, Dot::interleave(weight[0], weight[1]));
  }
}

// Logits of n rows to weights of n / kPerUnit units, and the running maximum and sum.
template <class Dot>
void softmax_block(const Attend& a, size_t n, const LaneRange& range) noexcept {
  for (size_t lane = range.begin / kLanes * kLanes; lane < range.end; lane += kLanes) {
    float* column = a.logit(0, lane);
    const F32 old_max = load(a.row_max + lane);
    F32 top = old_max;
    for (size_t j = 0; j < n; ++j)
      top = max(load(column + j * kLanes), top);
    // Finite even when no row was seen yet: -inf less this is -inf, not NaN.
    const F32 shift = max(set(-__FLT_MAX__), top);
    const F32 rescale = exp(sub(old_max, shift));
    F32 sum = mul(load(a.row_sum + lane), rescale);
    for (size_t j = 0; j < n; j += Dot::kPerUnit) {
      F32 weight[Dot::kPerUnit];
      DSA_UNROLL
      for (size_t r = 0; r < Dot::kPerUnit; ++r) {
        weight[r] = exp(sub(load(column + (j + r) * kLanes), shift));
        sum = add(sum, weight[r]);
      }
      store_unit<Dot>(column + j / Dot::kPerUnit * kLanes, weight);
    }
    store(a.row_max + lane, top);
    store(a.row_sum + lane, sum);
    store(a.rescale + lane, rescale);
  }
}

// The vector side of the product with the weights.
template <class Dot, size_t kVectors>
VectorUnits value_group(const Attend& a, size_t vector) noexcept {
  if constexpr (Dot::kPerUnit == 1) return {a.keys + vector * kLanes, a.shape.stride};
  return {a.values + vector * kLanes * a.shape.value_rows, kVectors * kLanes};
}

// Pairs up the n rows of the gathered block, column by column, where a unit holds two.
template <class Dot>
void prepare_values(const Attend& a, size_t n) noexcept {
  if constexpr (Dot::kPerUnit == 2) {
    const size_t n_units = round_up_to(n, 2) / 2;
    for_each_group(a.shape.columns / kLanes, [&](auto width, size_t vector) {
      constexpr size_t kVectors = decltype(width)::value;
      float* to = a.values + vector * kLanes * a.shape.value_rows;
      for (size_t u = 0; u < n_units; ++u) {
        const float* pair = a.keys + 2 * u * a.shape.stride + vector * kLanes / 2;
        for (size_t j = 0; j < kVectors; ++j, to += kLanes) {
          store(to, Dot::pair_up(pair + j * kLanes / 2, pair + j * kLanes / 2 + a.shape.stride));
        }
      }
    });
  }
}

template <class Dot, size_t kRows, size_t kVectors>
void weigh_lanes(const Attend& a,
                 size_t lane,
                 size_t vector,
                 const UnitList<Dot>& list,
                 bool all,
                 Trickle& ahead) noexcept {
  constexpr size_t kWidth = kVectors * kLanes;
  float* out = a.output + vector * kLanes * a.lanes + lane * kWidth;
  F32 acc[kRows][kVectors];
  DSA_UNROLL
  for (size_t i = 0; i < kRows; ++i) {
    const F32 rescale = set(a.rescale[lane + i]);
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j) {
      acc[i][j] = mul(load(out + i * kWidth + j * kLanes), rescale);
    }
  }
  const size_t lane_step = kLanes > 1 ? 1 : kBlockRows;  // no tile crosses vectors of many lanes
  const BroadcastRows weights = {reinterpret_cast<const uint8_t*>(a.logit(0, lane)),
                                 sizeof(float) * lane_step, sizeof(float) * kLanes};
  const VectorUnits values = value_group<Dot, kVectors>(a, vector);
  if (all) {
    multiply_tile<Dot>(weights, values, list.n_units, ahead, acc);
  } else {
    const ListedUnits listed = {values.data, values.step, list.units};
    multiply_tile<Dot>(weights, listed, list.n_units, ahead, acc);
  }
  DSA_UNROLL
  for (size_t i = 0; i < kRows; ++i) {
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j)
      store(out + i * kWidth + j * kLanes, acc[i][j]);
  }
}

// output = output * rescale + weights * values. kExact: no lane outside the range is touched.
// ahead: rows of the next block; fetched this late, they are still in the cache when it begins.
template <class Dot, bool kExact>
void weigh_group(const Attend& a,
                 const LaneRange& range,
                 const UnitList<Dot>& list,
                 bool all,
                 Trickle& ahead) noexcept {
  for_each_group(a.shape.columns / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    constexpr size_t kRows = kExact ? 1 : kTileAccumulators / kVectors;
    for (size_t lane = range.begin; lane < range.end; lane += kRows) {
      weigh_lanes<Dot, kRows, kVectors>(a, lane, vector, list, all, ahead);
    }
  });
}

// Folds the rows of a gathered block of n that a group sees into its lanes, or with kExact into
// the lanes of one of its queries alone.
template <class Dot, bool kExact>
void fold_group(const Attend& a,
                size_t n,
                size_t first_query,
                const RowBits* seen,
                const LaneRange& range,
                Trickle& ahead) noexcept {
  RowBits any;
  for (size_t q = first_query; q < a.n_queries && q < first_query + a.group.queries; ++q)
    any.add(seen[q]);
  if (!any.any()) return;
  const UnitList<Dot> list(any);
  score_group<Dot>(a, n, a.lane(first_query), list, ahead);
  mask_group(a, first_query, seen, list);
  softmax_block<Dot>(a, list.n_rows(), range);
  weigh_group<Dot, kExact>(a, range, list, list.is_all(n), ahead);
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
