// Sizes and places of what attention over rows keeps between its steps.
// Requires DSA_TIER and that tier's tile.h before inclusion.
#pragma once

#include "kernels/attention_kernels.h"
#include "kernels/generic/dot_tile.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr size_t kBlockWords = 2;  // of the visibility mask
constexpr size_t kBlockRows = 64 * kBlockWords;
constexpr size_t kChunkLanes = 128;
constexpr size_t kChunkQueries = kChunkLanes;  // with one head each

inline size_t round_up_to(size_t n, size_t step) noexcept {
  return (n + step - 1) / step * step;
}

// A bit per row of a block.
struct RowBits {
  uint64_t word[kBlockWords] = {};

  bool any() const noexcept {
    uint64_t all = 0;
    for (const uint64_t w : word)
      all |= w;
    return all != 0;
  }
  bool has(size_t row) const noexcept { return (word[row / 64] >> row % 64 & 1U) != 0; }
  void add(const RowBits& other) noexcept {
    for (size_t i = 0; i < kBlockWords; ++i)
      word[i] |= other.word[i];
  }
  size_t count_below(size_t row) const noexcept {
    size_t n = 0;
    for (size_t i = 0; i < row / 64; ++i)
      n += static_cast<size_t>(__builtin_popcountll(word[i]));
    const uint64_t below = (uint64_t{1} << row % 64) - 1;
    return n + static_cast<size_t>(__builtin_popcountll(word[row / 64] & below));
  }
  size_t count() const noexcept {
    size_t n = 0;
    for (const uint64_t w : word)
      n += static_cast<size_t>(__builtin_popcountll(w));
    return n;
  }
  // fn(row) for every row that is here and not in `without`.
  template <class Fn>
  void for_each_without(const RowBits& without, const Fn& fn) const noexcept {
    for (size_t i = 0; i < kBlockWords; ++i) {
      for (uint64_t left = word[i] & ~without.word[i]; left != 0; left &= left - 1)
        fn(64 * i + static_cast<size_t>(__builtin_ctzll(left)));
    }
  }
};

// Queries of a chunk whose lanes are computed together, so that they share the rows of a tile.
struct LaneGroup {
  size_t queries;
  size_t lanes;  // padded to whole tiles
};

// Queries that see the same rows share a group; those with rows of their own have one each, or as
// many as fill a tile.
inline LaneGroup lane_group(size_t n_heads, bool masked, size_t n_queries) noexcept {
  size_t queries = n_queries;
  if (masked) queries = n_heads < kTileAccumulators ? kTileAccumulators / n_heads : 1;
  return {queries, round_up_to(queries * n_heads, kTileAccumulators)};
}

// How many queries a chunk has at most.
inline size_t chunk_queries(size_t n_heads, bool masked) noexcept {
  if (!masked) return n_heads < kChunkLanes ? kChunkLanes / n_heads : 1;
  const LaneGroup group = lane_group(n_heads, true, 0);
  return group.lanes < kChunkLanes ? kChunkLanes / group.lanes * group.queries : group.queries;
}

// Sizes in floats; every region starts on a cache line.
struct AttendShape {
  size_t n_heads;
  size_t lanes;       // of a chunk, at most
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
  if (n_heads == 0) return shape;
  const size_t chunk_lanes = lane_group(n_heads, false, chunk_queries(n_heads, false)).lanes;
  const size_t group_lanes = lane_group(n_heads, true, 0).lanes;
  shape.lanes = chunk_lanes > group_lanes ? chunk_lanes : group_lanes;
  if (shape.lanes < kChunkLanes) shape.lanes = kChunkLanes;
  shape.n_units = (layout.d_latent + layout.d_rope) / Dot::kPerUnit;
  shape.columns = round_up_to(layout.d_latent, kLanes);
  shape.value_rows = Dot::kPerUnit == 1 ? 0 : kBlockRows / Dot::kPerUnit;
  const size_t widest =
      shape.n_units > shape.columns / Dot::kPerUnit ? shape.n_units : shape.columns / Dot::kPerUnit;
  shape.stride = (round_up_to(widest, 16) / 16 | 1) * 16;
  return shape;
}

// What tiles fetch into the L2 cache while they compute, spread over their steps: a core waits when
// it asks for more lines than it can have under way.
struct Trickle {
  Prefetch lines;
  size_t period;  // steps from one line to the next
  size_t wait = 0;

  DSA_INLINE void step() noexcept {
    if (wait != 0) {
      --wait;
      return;
    }
    if (lines.n_rows == 0) return;
    wait = period - 1;
    lines.step();
  }
};

// One chunk of queries under way. Lanes: group by group, in a group query by query.
struct Attend {
  const AttendArgs& args;
  size_t row_stride;
  AttendShape shape;
  size_t first_query;
  size_t n_queries;
  LaneGroup group;
  size_t lanes;    // of these queries, padded
  float* keys;     // [kBlockRows][stride] units
  float* values;   // [group of columns][kBlockRows / kPerUnit][columns of it] units
  float* logits;   // [kBlockRows][kLanes] for each vector of lanes; weights: [kBlockRows /
                   // kPerUnit][kLanes]
  float* query;    // [group of lanes] as pack_lanes() leaves them
  float* output;   // [lanes][columns], a group of columns at a time as pack_lanes() has units
  float* row_max;  // [lanes]
  float* row_sum;  // [lanes]
  float* rescale;  // [lanes] what the block at hand multiplies the output by

  const uint8_t* cached(int32_t row) const noexcept {
    const auto r = static_cast<size_t>(row);
    return args.base + (r * row_stride + (r >> args.page_shift) * args.page_gap);
  }
  // Logits, or a unit of weights, of a lane.
  float* logit(size_t row, size_t of_lane) const noexcept {
    return logits + (of_lane / kLanes * kBlockRows + row) * kLanes + of_lane % kLanes;
  }
  size_t lane(size_t q) const noexcept {  // first of a query
    return q / group.queries * group.lanes + q % group.queries * shape.n_heads;
  }
};

// Lanes of a group, or of one query in it.
struct LaneRange {
  size_t begin;
  size_t end;
};

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
