// Attention over a list of cached rows.
//
// Lanes are (query, head) pairs. Queries are taken in chunks of about kChunkLanes lanes, so that
// one gather of a row serves many lanes. The list is walked in blocks of kBlockRows rows:
//   gather   rows somebody sees -> contiguous key units (missing rows are zeros)
// and then for each group of lanes, with the rows its queries see and no others:
//   score    s[row][lane] = scale * <row, q>, -inf where masked
//   softmax  running maximum and sum per lane; s becomes the weights
//   weigh    o[lane][column] = o * rescale + sum_row weight * value
// Nothing a lane computes depends on another lane, except that a masked row which is not finite
// must not reach it as 0 * NaN: a block holding such a row is folded in query by query, from
// gathers that leave out what the query does not see.
//
// Rows<format> comes from the tier: its Dot, and how a stored row becomes units.
#pragma once

#include "kernels/generic/attend_block.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

// Which rows of a block are wanted by whom.
struct BlockRows {
  size_t begin = 0;  // in the list
  size_t n = 0;
  RowBits wanted;               // by any query
  RowBits seen[kChunkQueries];  // by each query of the chunk
};

inline void look_at_block(const Attend& a, size_t block, BlockRows* rows) noexcept {
  rows->begin = block * kBlockRows;
  rows->n = a.args.n_rows - rows->begin;
  if (rows->n > kBlockRows) rows->n = kBlockRows;
  for (size_t first = 0; first < rows->n; first += 64) {
    uint64_t present = 0;
    for (size_t j = 0; j < 64 && first + j < rows->n; ++j)
      present |= static_cast<uint64_t>(a.args.rows[rows->begin + first + j] >= 0) << j;
    const size_t word = first / 64;
    for (size_t q = 0; q < a.n_queries; ++q) {
      rows->seen[q].word[word] = present;
      if (a.args.visible != nullptr) {
        const uint64_t* visible = a.args.visible + (a.first_query + q) * a.args.visible_stride;
        rows->seen[q].word[word] &= visible[block * kBlockWords + word];
      }
      rows->wanted.word[word] |= rows->seen[q].word[word];
    }
  }
}

template <class Dot>
bool block_is_finite(const Attend& a, size_t n) noexcept {
  uint64_t not_finite = 0;
  for (size_t j = 0; j < n; ++j) {
    const float* row = a.keys + j * a.shape.stride;
    for (size_t u = 0; u < a.shape.stride; u += kLanes)
      not_finite |= Dot::bits_not_finite(row + u);
  }
  return not_finite == 0;
}

// Rows of the block that begins at an entry of the list; returns how many.
inline size_t listed_rows(const Attend& a, size_t begin, const uint8_t** rows) noexcept {
  size_t n = 0;
  for (size_t j = begin; j < a.args.n_rows && j < begin + kBlockRows; ++j) {
    if (a.args.rows[j] < 0) continue;
    rows[n++] = a.cached(a.args.rows[j]);
  }
  return n;
}

// Folds the block in query by query, each with a gather of the rows it sees alone.
template <class Rows>
void fold_apart(const Attend& a, const BlockRows& rows) noexcept {
  for (size_t q = 0; q < a.n_queries; ++q) {
    if (!rows.seen[q].any()) continue;
    RowBits only[kChunkQueries] = {};
    only[q] = rows.seen[q];
    gather<Rows>(a, rows.begin, rows.n, only[q]);
    prepare_values<typename Rows::Dot>(a, rows.n);
    Trickle nothing = {{nullptr, 0, 0}, 1};
    fold_group<typename Rows::Dot, true>(a, rows.n, q / a.group.queries * a.group.queries, only,
                                         {a.lane(q), a.lane(q) + a.shape.n_heads}, nothing);
  }
}

// Steps of the tiles that fold a block in, for each line of n rows to be fetched meanwhile.
template <class Dot>
size_t fetch_period(const Attend& a, const BlockRows& rows, size_t n) noexcept {
  size_t pairs = 0;  // of a query and a row
  for (size_t q = 0; q < a.n_queries; ++q)
    pairs += rows.seen[q].count();
  const size_t products =
      pairs * a.shape.n_heads * (a.shape.n_units + a.shape.columns / Dot::kPerUnit);
  const size_t lines = n * (a.args.layout.row_bytes() / 64 + 1);
  const size_t steps = products / (kTileAccumulators * kLanes);
  return steps > lines && lines != 0 ? steps / lines : 1;
}

template <class Rows>
void fold_block(const Attend& a, size_t block) noexcept {
  using Dot = typename Rows::Dot;
  BlockRows rows;
  look_at_block(a, block, &rows);
  if (!rows.wanted.any()) return;
  gather<Rows>(a, rows.begin, rows.n, rows.wanted);
  if (a.args.visible != nullptr && !block_is_finite<Dot>(a, rows.n)) {
    return fold_apart<Rows>(a, rows);
  }
  prepare_values<Dot>(a, rows.n);
  const uint8_t* next[kBlockRows];
  const size_t n_next = listed_rows(a, rows.begin + rows.n, next);
  Trickle ahead = {{next, n_next, a.args.layout.row_bytes()}, fetch_period<Dot>(a, rows, n_next)};
  for (size_t q = 0; q < a.n_queries; q += a.group.queries) {
    const size_t lane = a.lane(q);
    fold_group<Dot, false>(a, rows.n, q, rows.seen, {lane, lane + a.group.lanes}, ahead);
  }
}

inline void begin_chunk(const Attend& a) noexcept {
  for (size_t lane = 0; lane < a.lanes; ++lane) {
    a.row_max[lane] = -__builtin_inff();
    a.row_sum[lane] = 0;
  }
  __builtin_memset(a.output, 0, sizeof(float) * a.lanes * a.shape.columns);
}

// out = output / row_sum, lse = row_max + ln row_sum.
inline void finish_lane(const Attend& a, size_t lane, float* out, float* lse) noexcept {
  const float sum = a.row_sum[lane];
  *lse = sum == 0.0F ? -__builtin_inff() : a.row_max[lane] + __builtin_logf(sum);
  const F32 inverse = set(sum == 0.0F ? 0.0F : 1.0F / sum);
  const size_t d = a.args.layout.d_latent;
  for_each_group(a.shape.columns / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    const float* from = a.output + vector * kLanes * a.lanes + lane * kVectors * kLanes;
    for (size_t j = 0; j < kVectors; ++j) {
      const size_t column = (vector + j) * kLanes;
      const F32 value = mul(load(from + j * kLanes), inverse);
      if (column + kLanes <= d) {
        store(out + column, value);
      } else {
        store_first(out + column, d - column, value);
      }
    }
  });
}

inline void finish_chunk(const Attend& a) noexcept {
  for (size_t q = 0; q < a.n_queries; ++q) {
    float* out = a.args.out + (a.first_query + q) * a.args.out_stride;
    float* lse = a.args.lse + (a.first_query + q) * a.args.lse_stride;
    for (size_t h = 0; h < a.shape.n_heads; ++h) {
      finish_lane(a, a.lane(q) + h, out + h * a.args.layout.d_latent, lse + h);
    }
  }
}

template <class Rows>
void attend_chunk(const Attend& a) noexcept {
  const size_t n_heads = a.shape.n_heads;
  const size_t d = a.args.layout.d_latent + a.args.layout.d_rope;
  for (size_t first = 0; first < a.n_queries; first += a.group.queries) {
    const float* q = a.args.q + (a.first_query + first) * a.args.q_stride;
    const size_t left = a.n_queries - first;
    const size_t used = (left < a.group.queries ? left : a.group.queries) * n_heads;
    const auto row = [&](size_t lane) {
      return lane < used ? q + lane / n_heads * a.args.q_stride + lane % n_heads * d : nullptr;
    };
    pack_lanes<typename Rows::PackDot>(row, a.group.lanes, a.shape.n_units,
                                       a.query + a.lane(first) * a.shape.n_units);
  }
  begin_chunk(a);
  for (size_t block = 0; block * kBlockRows < a.args.n_rows; ++block)
    fold_block<Rows>(a, block);
  finish_chunk(a);
}

template <class Rows>
void attend_rows(const AttendArgs& args) noexcept {
  const AttendShape shape = attend_shape<typename Rows::Dot>(args.layout, args.n_heads);
  if (args.n_heads == 0) return;
  const bool masked = args.visible != nullptr;
  const size_t most = chunk_queries(args.n_heads, masked);
  const size_t row_stride = args.row_stride != 0 ? args.row_stride : args.layout.row_bytes();
  Attend a = {args, row_stride, shape, 0,  0,  {}, 0, static_cast<float*>(args.scratch),
              {},   {},         {},    {}, {}, {}, {}};
  a.values = a.keys + shape.keys();
  a.logits = a.values + shape.values();
  a.query = a.logits + shape.logits();
  a.output = a.query + shape.query();
  a.row_max = a.output + shape.output();
  a.row_sum = a.row_max + shape.state();
  a.rescale = a.row_sum + shape.state();
  for (size_t first = 0; first < args.n_queries; first += most) {
    const size_t left = args.n_queries - first;
    a.first_query = first;
    a.n_queries = left < most ? left : most;
    a.group = lane_group(args.n_heads, masked, a.n_queries);
    a.lanes = round_up_to(a.n_queries, a.group.queries) / a.group.queries * a.group.lanes;
    attend_chunk<Rows>(a);
  }
}

template <class Rows>
size_t scratch_bytes_of(const LatentLayout& layout, size_t n_heads) noexcept {
  return sizeof(float) * attend_shape<typename Rows::Dot>(layout, n_heads).total();
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
