#include "ops/attend_neighbours.h"

#include <algorithm>

#include "common/math.h"
#include "ops/attend_rows.h"

namespace dsa {

namespace {

// Lanes, that is queries times heads, for which a kernel keeps its sums at a time.
constexpr size_t kTileLanes = 128;

size_t tile_queries(size_t n_heads) {
  const size_t lanes = std::min(n_heads, kHeadsPerItem);
  return std::clamp<size_t>(kTileLanes / lanes, 1, RowUnion::kMaxQueries);
}

// Work of one thread: the queries of a tile, a group of heads.
struct Tile {
  const OpContext* context;
  const NeighbourAttention* args;
  size_t first;  // query
  size_t count;
  size_t head;
  size_t n_heads;

  kernels::AttendArgs attend_args(uint8_t* scratch) const {
    const LatentLayout& layout = args->cache.layout;
    const size_t d_row = layout.d_latent + layout.d_rope;
    kernels::AttendArgs attend;
    attend.layout = layout;
    attend.base = args->cache.base;
    attend.n_heads = n_heads;
    attend.q_stride = args->n_heads * d_row;
    attend.q = args->q + first * attend.q_stride + head * d_row;
    attend.scale = args->scale;
    attend.out_stride = args->n_heads * layout.d_latent;
    attend.out = args->out + first * attend.out_stride + head * layout.d_latent;
    attend.lse_stride = args->n_heads;
    attend.lse = args->lse + first * attend.lse_stride + head;
    attend.scratch = scratch;
    return attend;
  }

  const int32_t* positions(size_t i) const {
    return args->lists.positions + (first + i) * args->lists.stride;
  }
  size_t n_selected(size_t i) const { return static_cast<size_t>(args->lists.counts[first + i]); }

  void to_rows(const int32_t* list, size_t n, int32_t* rows) const {
    std::transform(list, list + n, rows, [this](int32_t position) {
      return args->cache.row(static_cast<size_t>(position));
    });
  }

  void run_together(const RowUnion& rows, uint8_t* scratch) const {
    to_rows(rows.positions, rows.n_positions, rows.positions);
    kernels::AttendArgs attend = attend_args(scratch);
    attend.rows = rows.positions;
    attend.n_rows = rows.n_positions;
    attend.n_queries = count;
    attend.visible = rows.visible;
    attend.visible_stride = rows.words;
    context->kernels->attention->attend(attend);
  }

  void run_apart(const RowUnion& rows, uint8_t* scratch) const {
    kernels::AttendArgs attend = attend_args(scratch);
    attend.rows = rows.positions;
    for (size_t i = 0; i < count; ++i) {
      attend.n_rows = n_selected(i);
      to_rows(positions(i), attend.n_rows, rows.positions);
      context->kernels->attention->attend(attend);
      attend.q += attend.q_stride;
      attend.out += attend.out_stride;
      attend.lse += attend.lse_stride;
    }
  }

  void run(RowUnion* rows, uint8_t* scratch) const {
    size_t n_listed = 0;
    for (size_t i = 0; i < count; ++i)
      n_listed += n_selected(i);
    if (count > 1) {
      rows->build(positions(0), args->lists.stride, args->lists.counts + first, count);
      if (4 * rows->n_positions <= 3 * n_listed) return run_together(*rows, scratch);
    }
    run_apart(*rows, scratch);
  }
};

}  // namespace

void attend_neighbours(const OpContext& context,
                       const NeighbourAttention& args,
                       std::span<RowUnion> unions,
                       uint8_t* attend_scratch,
                       size_t attend_bytes) {
  const size_t n_groups = ceil_div(args.n_heads, kHeadsPerItem);
  const size_t most = tile_queries(args.n_heads);
  const size_t n_tiles = ceil_div(args.n_queries, most);
  context.pool->parallel_for(
      static_cast<int64_t>(n_tiles * n_groups), [&](int64_t index, int worker) {
        const size_t first = static_cast<size_t>(index) / n_groups * most;
        const size_t head = static_cast<size_t>(index) % n_groups * kHeadsPerItem;
        const Tile tile = {&context, &args,
                           first,    std::min(most, args.n_queries - first),
                           head,     std::min(kHeadsPerItem, args.n_heads - head)};
        const auto thread = static_cast<size_t>(worker);
        tile.run(&unions[thread], attend_scratch + thread * attend_bytes);
      });
}

}  // namespace dsa
