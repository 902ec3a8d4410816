// One block of cached rows folded into the running attention of a chunk of queries: gather,
// score, softmax, weigh. attend.inl.h has the whole picture.
// Requires DSA_TIER and that tier's tile.h before inclusion.
#pragma once

#include "kernels/attention_kernels.h"
#include "kernels/generic/dot_tile.inl.h"
#include "kernels/generic/vector_exp.inl.h"
#include "kernels/generic/vector_loop.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr size_t kBlockRows = 64;
constexpr size_t kChunkLanes = 128;
constexpr size_t kChunkQueries = kChunkLanes;  // with one head each

inline size_t round_up_to(size_t n, size_t step) noexcept {
  return (n + step - 1) / step * step;
}

// Sizes in floats; every region starts on a cache line.
struct AttendShape {
  size_t n_heads;
  size_t chunk_queries;
  size_t lanes;       // of a chunk, padded
  size_t n_units;     // of a key
  size_t columns;     // of a value, padded
  size_t value_rows;  // units of a column to be rearranged; 0 when the keys serve as they are
  size_t stride;  // of a gathered row: an odd number of cache lines, so that rows spread over sets

  size_t keys() const noexcept { return kBlockRows * stride; }
  size_t values() const noexcept { return value_rows * columns; }
  size_t logits() const noexcept { return kBlockRows * lanes; }
  size_t query() const noexcept { return round_up_to(lanes * n_units, 16); }
  size_t output() const noexcept { return round_up_to(lanes * columns, 16); }
  size_t state() const noexcept { return round_up_to(lanes, 16); }
  size_t total() const noexcept {
    return keys() + values() + logits() + query() + output() + 3 * state();
  }
};

template <class Dot>
AttendShape attend_shape(const LatentLayout& layout, size_t n_heads) noexcept {
  AttendShape shape = {};
  shape.n_heads = n_heads;
  shape.chunk_queries = n_heads < kChunkLanes ? kChunkLanes / (n_heads == 0 ? 1 : n_heads) : 1;
  shape.lanes = round_up_to(shape.chunk_queries * n_heads, kTileAccumulators);
  shape.n_units = (layout.d_latent + layout.d_rope) / Dot::kPerUnit;
  shape.columns = round_up_to(layout.d_latent, kLanes);
  shape.value_rows = Dot::kPerUnit == 1 ? 0 : kBlockRows / Dot::kPerUnit;
  const size_t widest =
      shape.n_units > shape.columns / Dot::kPerUnit ? shape.n_units : shape.columns / Dot::kPerUnit;
  shape.stride = (round_up_to(widest, 16) / 16 | 1) * 16;
  return shape;
}

// One chunk of queries under way.
struct Attend {
  const AttendArgs& args;
  AttendShape shape;
  size_t first_query;
  size_t n_queries;
  size_t lanes;    // of these queries, padded
  float* keys;     // [64][stride] units
  float* values;   // [group of columns][64 / kPerUnit][columns of the group] units
  float* logits;   // [64][lanes], then the weights: [64 / kPerUnit][lanes] units
  float* query;    // pack_lanes()
  float* output;   // [lanes][columns], a group of columns at a time as pack_lanes() has units
  float* row_max;  // [lanes]
  float* row_sum;  // [lanes]
  float* rescale;  // [lanes] what the block at hand multiplies the output by
};

// Lanes of the queries a block is folded into.
struct LaneRange {
  size_t begin;
  size_t end;
};

// Copies the wanted rows of a block into units; the others become zeros.
template <class Rows>
void gather(const Attend& a, size_t begin, size_t n, uint64_t wanted) noexcept {
  const AttendArgs& args = a.args;
  const size_t row_bytes = args.layout.row_bytes();
  const size_t n_tile = round_up_to(n, kTileAccumulators);
  for (size_t j = 0; j < n_tile; ++j) {
    float* units = a.keys + j * a.shape.stride;
    if ((wanted >> j & 1U) == 0) {
      __builtin_memset(units, 0, sizeof(float) * a.shape.stride);
      continue;
    }
    const size_t row = static_cast<size_t>(args.rows[begin + j]);
    Rows::load(args.layout, args.base + row * row_bytes, units);
    __builtin_memset(units + a.shape.n_units, 0,
                     sizeof(float) * (a.shape.stride - a.shape.n_units));
  }
}

template <class Dot, size_t kRows, size_t kVectors>
void score_rows(const Attend& a, const float* group, size_t row, size_t lane) noexcept {
  F32 acc[kRows][kVectors];
  clear_tile(acc);
  const BroadcastRows keys = {reinterpret_cast<const uint8_t*>(a.keys + row * a.shape.stride),
                              sizeof(float) * a.shape.stride, sizeof(float)};
  dot_tile<Dot>(keys, group, kVectors * kLanes, a.shape.n_units, acc);
  const F32 scale = set(a.args.scale);
  DSA_UNROLL
  for (size_t i = 0; i < kRows; ++i) {
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j) {
      store(a.logits + (row + i) * a.lanes + lane + j * kLanes, mul(acc[i][j], scale));
    }
  }
}

template <class Dot>
void score_block(const Attend& a, size_t n, const LaneRange& range) noexcept {
  for_each_group(a.lanes / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    constexpr size_t kRows = kTileAccumulators / kVectors;
    const size_t lane = vector * kLanes;
    if (lane >= range.end || lane + kVectors * kLanes <= range.begin) return;
    const float* group = a.query + lane * a.shape.n_units;
    for (size_t row = 0; row < n; row += kRows) {
      score_rows<Dot, kRows, kVectors>(a, group, row, lane);
    }
  });
}

// Logits of rows a query does not see become -inf. seen: [n_queries] a bit per row.
inline void mask_block(const Attend& a, size_t n, const uint64_t* seen) noexcept {
  const uint64_t all = n == kBlockRows ? ~0ULL : (1ULL << n) - 1;
  const size_t n_heads = a.shape.n_heads;
  for (size_t q = 0; q < a.n_queries; ++q) {
    for (uint64_t hidden = all & ~seen[q]; hidden != 0; hidden &= hidden - 1) {
      float* row = a.logits + static_cast<size_t>(__builtin_ctzll(hidden)) * a.lanes + q * n_heads;
      for_each_vector(n_heads,
                      [=](size_t h, auto part) { store(row + h, set(-__builtin_inff()), part); });
    }
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
    float* column = a.logits + lane;
    const F32 old_max = load(a.row_max + lane);
    F32 top = old_max;
    for (size_t j = 0; j < n; ++j)
      top = max(load(column + j * a.lanes), top);
    // Finite even when no row was seen yet: -inf less this is -inf, not NaN.
    const F32 shift = max(set(-__FLT_MAX__), top);
    const F32 rescale = exp(sub(old_max, shift));
    F32 sum = mul(load(a.row_sum + lane), rescale);
    for (size_t j = 0; j < n; j += Dot::kPerUnit) {
      F32 weight[Dot::kPerUnit];
      DSA_UNROLL
      for (size_t r = 0; r < Dot::kPerUnit; ++r) {
        weight[r] = exp(sub(load(column + (j + r) * a.lanes), shift));
        sum = add(sum, weight[r]);
      }
      store_unit<Dot>(column + j / Dot::kPerUnit * a.lanes, weight);
    }
    store(a.row_max + lane, top);
    store(a.row_sum + lane, sum);
    store(a.rescale + lane, rescale);
  }
}

// The vector side of the product with the weights: unit u of column c at data + u * step + c.
struct ValueGroup {
  const float* data;
  size_t step;
};

template <class Dot, size_t kVectors>
ValueGroup value_group(const Attend& a, size_t vector) noexcept {
  if constexpr (Dot::kPerUnit == 1) return {a.keys + vector * kLanes, a.shape.stride};
  return {a.values + vector * kLanes * a.shape.value_rows, kVectors * kLanes};
}

// Pairs up the rows of the gathered block, column by column, where a unit holds two.
template <class Dot>
void prepare_values(const Attend& a, size_t n_units) noexcept {
  if constexpr (Dot::kPerUnit == 2) {
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
void weigh_lanes(
    const Attend& a, size_t lane, size_t vector, size_t n_units, Prefetch& ahead) noexcept {
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
  const BroadcastRows weights = {reinterpret_cast<const uint8_t*>(a.logits + lane), sizeof(float),
                                 sizeof(float) * a.lanes};
  const ValueGroup values = value_group<Dot, kVectors>(a, vector);
  if (ahead.n_rows != 0) {
    dot_tile<Dot>(weights, values.data, values.step, n_units, ahead, acc);
  } else {
    dot_tile<Dot>(weights, values.data, values.step, n_units, acc);
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
void weigh_block(const Attend& a, size_t n_units, const LaneRange& range, Prefetch ahead) noexcept {
  for_each_group(a.shape.columns / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    constexpr size_t kRows = kExact ? 1 : kTileAccumulators / kVectors;
    for (size_t lane = range.begin; lane < range.end; lane += kRows) {
      weigh_lanes<Dot, kRows, kVectors>(a, lane, vector, n_units, ahead);
    }
  });
}

template <class Dot, bool kExact>
void fold_lanes(const Attend& a,
                size_t n,
                const uint64_t* seen,
                const LaneRange& range,
                const Prefetch& ahead) noexcept {
  const size_t n_even = round_up_to(n, Dot::kPerUnit);
  prepare_values<Dot>(a, n_even / Dot::kPerUnit);
  score_block<Dot>(a, n, range);
  mask_block(a, n_even, seen);
  softmax_block<Dot>(a, n_even, range);
  weigh_block<Dot, kExact>(a, n_even / Dot::kPerUnit, range, ahead);
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
