// Attention of dsa/ops.h.
#include <algorithm>
#include <cmath>

#include "common/math.h"
#include "common/status_macros.h"
#include "ops/attend_rows.h"
#include "ops/context.h"
#include "ops/float_rows.h"
#include "ops/list_parts.h"
#include "ops/ops_checks.h"
#include "runtime/scratch.h"

namespace dsa {

namespace {

constexpr size_t kMaxPartBytes = size_t{64} << 20;  // of the parts of queries under way
constexpr size_t kItemsPerThread = 4;               // so that threads end at about the same time

size_t entries(const SparseAttention& args, size_t query) {
  return static_cast<size_t>(args.counts.empty() ? args.n_rows : args.counts[query]);
}

Status check_counts(const SparseAttention& args) {
  if (args.counts.empty()) return {};
  DSA_RETURN_IF_ERROR(check_size("counts", args.counts.size(), {args.n_queries}));
  for (size_t i = 0; i < args.counts.size(); ++i) {
    if (args.counts[i] >= 0 && args.counts[i] <= args.n_rows) continue;
    return invalid_argument("counts[{}]: {}, want 0 to {}", i, args.counts[i], args.n_rows);
  }
  return {};
}

Status check_rows(const SparseAttention& args, const PagedRows& pages) {
  DSA_RETURN_IF_ERROR(check_size("rows", args.rows.size(), {args.n_queries, args.n_rows}));
  DSA_RETURN_IF_ERROR(check_counts(args));
  const bool tokens = !args.batch.query_start.empty();
  for (size_t i = 0; i < static_cast<size_t>(args.n_queries); ++i) {
    const int64_t most = tokens ? args.batch.lengths[sequence_of(args.batch, i)] : pages.n_slots;
    const int32_t* list = args.rows.data() + i * static_cast<size_t>(args.n_rows);
    for (size_t j = 0; j < entries(args, i); ++j) {
      if (list[j] < most) continue;
      return invalid_argument("rows[{}, {}]: {}, want less than {}", i, j, list[j], most);
    }
  }
  return {};
}

LatentLayout layout_of(const SparseAttention& args) {
  return {args.format, static_cast<size_t>(args.d_latent), static_cast<size_t>(args.d_rope)};
}

Result<PagedRows> check_sparse_attention(const SparseAttention& args) {
  DSA_RETURN_IF_ERROR(check_latent_dims(args.d_latent, args.d_rope));
  DSA_RETURN_IF_ERROR(check_range("n_heads", args.n_heads, 1, kMaxCount));
  DSA_RETURN_IF_ERROR(check_range("n_queries", args.n_queries, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_range("n_rows", args.n_rows, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(
      check_size("q", args.q.size, {args.n_queries, args.n_heads, args.d_latent + args.d_rope}));
  DSA_RETURN_IF_ERROR(
      check_size("out", args.out.size, {args.n_queries, args.n_heads, args.d_latent}));
  if (!args.lse.empty()) {
    DSA_RETURN_IF_ERROR(check_size("lse", args.lse.size(), {args.n_queries, args.n_heads}));
  }
  if (!args.sinks.empty()) {
    DSA_RETURN_IF_ERROR(check_size("sinks", args.sinks.size(), {args.n_heads}));
  }
  DSA_ASSIGN_OR_RETURN(const PagedRows pages,
                       check_latent_pages("cache", args.cache, layout_of(args).row_bytes()));
  if (!args.batch.query_start.empty()) {
    DSA_RETURN_IF_ERROR(
        check_batch(args.batch, args.cache.n_pages, static_cast<int64_t>(pages.page_tokens)));
    if (n_queries_of(args.batch) != args.n_queries) {
      return invalid_argument("query_start: ends at {}, want {} queries", n_queries_of(args.batch),
                              args.n_queries);
    }
  }
  DSA_RETURN_IF_ERROR(check_rows(args, pages));
  return pages;
}

// A tile of queries at a time: first every part of a list for a group of heads is one work item,
// then what is left to do for a query and a group of heads.
class AttentionTiles {
 public:
  AttentionTiles(const SparseAttention& args,
                 const PagedRows& pages,
                 const kernels::KernelTable& table,
                 int n_threads)
      : args_(args),
        pages_(pages),
        kernels_(table),
        layout_(layout_of(args)),
        n_queries_(static_cast<size_t>(args.n_queries)),
        n_heads_(static_cast<size_t>(args.n_heads)),
        n_groups_(ceil_div(n_heads_, kHeadsPerItem)),
        most_parts_(list_parts(static_cast<size_t>(args.n_rows)).n_parts),
        translated_(!args.batch.query_start.empty() || !pages.slots_are_rows()),
        f32_out_(args.out.type == FloatType::kF32 ? static_cast<float*>(args.out.data) : nullptr),
        attend_bytes_(attend_scratch_bytes({&table}, layout_, n_heads_)) {
    plan_memory(static_cast<size_t>(n_threads));
  }

  const ScratchPlan& plan() const { return plan_; }

  void run(Executor& executor) const {
    for (size_t first = 0; first < n_queries_; first += tile_) {
      const size_t count = std::min(tile_, n_queries_ - first);
      executor.parallel_for(static_cast<int64_t>(count * most_parts_ * n_groups_),
                            [&](int64_t item, int worker) {
                              const auto i = static_cast<size_t>(item);
                              attend({first, first + i / (most_parts_ * n_groups_), i % n_groups_},
                                     i / n_groups_ % most_parts_, static_cast<size_t>(worker));
                            });
      executor.parallel_for(static_cast<int64_t>(count * n_groups_), [&](int64_t item, int worker) {
        const auto i = static_cast<size_t>(item);
        finish({first, first + i / n_groups_, i % n_groups_}, static_cast<size_t>(worker));
      });
    }
  }

 private:
  // A query of the tile that begins at tile_first, and a group of heads.
  struct Place {
    size_t tile_first;
    size_t query;
    size_t group;
  };

  void plan_memory(size_t n_threads) {
    group_heads_ = std::min(kHeadsPerItem, n_heads_);
    tile_ = n_queries_;
    if (most_parts_ > 1 || f32_out_ == nullptr) {
      const size_t query_values = most_parts_ * n_heads_ * layout_.d_latent;
      const size_t wanted = ceil_div(kItemsPerThread * n_threads, n_groups_ * most_parts_);
      const size_t room = kMaxPartBytes / sizeof(float) / query_values;
      tile_ = std::min({n_queries_, wanted, std::max<size_t>(room, 1)});
      plan_.add(&part_out_, tile_ * query_values);
    }
    plan_.add(&part_lse_, tile_ * most_parts_ * n_heads_);
    plan_.add(&attend_, saturating_mul(n_threads, attend_bytes_));
    if (args_.q.type != FloatType::kF32) {
      plan_.add(&worker_q_, n_threads * group_heads_ * (layout_.d_latent + layout_.d_rope));
    }
    if (f32_out_ == nullptr) {
      plan_.add(&worker_out_, n_threads * group_heads_ * layout_.d_latent);
    }
    if (translated_) plan_.add(&worker_rows_, n_threads * static_cast<size_t>(args_.n_rows));
  }

  size_t first_head(const Place& place) const { return place.group * kHeadsPerItem; }
  size_t heads(const Place& place) const {
    return std::min(kHeadsPerItem, n_heads_ - first_head(place));
  }
  // Of the place's first part. Parts of a place lie together: [part][head], as merge() reads them.
  size_t part_at(const Place& place) const {
    return (place.query - place.tile_first) * most_parts_ * n_heads_ +
           first_head(place) * most_parts_;
  }
  // Where kernels write attention over the whole list.
  float* whole(const Place& place, size_t worker) const {
    if (f32_out_ == nullptr) return worker_out_ + worker * group_heads_ * layout_.d_latent;
    return f32_out_ + (place.query * n_heads_ + first_head(place)) * layout_.d_latent;
  }
  // Where they write a part's: a list in one part that needs no rounding goes straight to the
  // output.
  float* part_of_out(const Place& place, size_t n_parts, size_t at) const {
    if (n_parts == 1 && f32_out_ != nullptr) return whole(place, 0);
    return part_out_ + at * layout_.d_latent;
  }

  const int32_t* row_numbers(size_t query, size_t first, size_t n, size_t worker) const {
    const int32_t* list = args_.rows.data() + query * static_cast<size_t>(args_.n_rows) + first;
    if (!translated_) return list;
    int32_t* rows = worker_rows_ + worker * static_cast<size_t>(args_.n_rows);
    if (args_.batch.query_start.empty()) {
      std::transform(list, list + n, rows,
                     [&](int32_t slot) { return slot < 0 ? -1 : pages_.row_of_slot(slot); });
      return rows;
    }
    const int32_t* table =
        args_.batch.block_tables.data() +
        sequence_of(args_.batch, query) * static_cast<size_t>(args_.batch.max_blocks);
    std::transform(list, list + n, rows, [&](int32_t token) {
      if (token < 0) return -1;
      const auto t = static_cast<size_t>(token);
      return pages_.row(table[t / pages_.page_tokens], t % pages_.page_tokens);
    });
    return rows;
  }

  const float* queries(const Place& place, size_t worker) const {
    const size_t d_row = layout_.d_latent + layout_.d_rope;
    float* room = worker_q_ == nullptr ? nullptr : worker_q_ + worker * group_heads_ * d_row;
    return float_row(*kernels_.vector, args_.q,
                     (place.query * n_heads_ + first_head(place)) * d_row, heads(place) * d_row,
                     room);
  }

  void attend(const Place& place, size_t part, size_t worker) const {
    const size_t n_rows = entries(args_, place.query);
    const ListParts parts = list_parts(n_rows);
    if (part >= parts.n_parts) return;
    const size_t first = std::min(part * parts.part_rows, n_rows);
    kernels::AttendArgs item;
    item.layout = layout_;
    item.base = args_.cache.data;
    item.row_stride = pages_.row_stride;
    item.page_gap = pages_.page_gap();
    item.page_shift = pages_.page_shift;
    item.n_rows = std::min(parts.part_rows, n_rows - first);
    item.rows = row_numbers(place.query, first, item.n_rows, worker);
    item.n_heads = heads(place);
    item.q = queries(place, worker);
    item.scale = args_.scale;
    const size_t at = part_at(place) + part * item.n_heads;
    item.out = part_of_out(place, parts.n_parts, at);
    item.lse = part_lse_ + at;
    item.scratch = attend_ + worker * attend_bytes_;
    kernels_.attention->attend(item);
  }

  void finish(const Place& place, size_t worker) const {
    const size_t n = heads(place);
    float* lse = part_lse_ + part_at(place);
    const size_t n_parts = list_parts(entries(args_, place.query)).n_parts;
    float* out = part_of_out(place, n_parts, part_at(place));
    if (n_parts > 1) {
      float* merged = whole(place, worker);
      float merged_lse[kHeadsPerItem];
      kernels_.attention->merge(out, lse, n_parts, n, layout_.d_latent, merged, merged_lse);
      std::copy_n(merged_lse, n, lse);
      out = merged;
    }
    weigh_sinks(first_head(place), n, lse, out);
    give(place, lse, out);
  }

  // A sink is a row with a value of 0.
  void weigh_sinks(size_t head, size_t n, const float* lse, float* out) const {
    if (args_.sinks.empty()) return;
    for (size_t h = 0; h < n; ++h) {
      if (std::isinf(lse[h]) && lse[h] < 0) continue;  // 0 already
      const double sink = static_cast<double>(args_.sinks[head + h]);
      const auto share = static_cast<float>(1 / (1 + std::exp(sink - static_cast<double>(lse[h]))));
      float* values = out + h * layout_.d_latent;
      std::for_each(values, values + layout_.d_latent, [share](float& value) { value *= share; });
    }
  }

  void give(const Place& place, const float* lse, const float* out) const {
    const size_t n = heads(place);
    const size_t at = place.query * n_heads_ + first_head(place);
    if (f32_out_ == nullptr) {
      kernels_.vector->f32_to_bf16(out, n * layout_.d_latent,
                                   static_cast<uint16_t*>(args_.out.data) + at * layout_.d_latent);
    }
    if (args_.lse.empty()) return;
    std::transform(lse, lse + n, args_.lse.data() + at, [this](float value) {
      return std::isinf(value) && value < 0 ? args_.empty_lse : value;
    });
  }

  const SparseAttention& args_;
  const PagedRows pages_;
  const kernels::KernelTable& kernels_;
  const LatentLayout layout_;
  const size_t n_queries_;
  const size_t n_heads_;
  const size_t n_groups_;
  const size_t most_parts_;
  const bool translated_;  // the lists' entries are not the kernels' row numbers
  float* const f32_out_;   // null: outputs are bf16
  const size_t attend_bytes_;
  size_t group_heads_ = 0;
  size_t tile_ = 1;                 // queries
  float* part_out_ = nullptr;       // [tile, n_heads * parts, d_latent]
  float* part_lse_ = nullptr;       // [tile, n_heads * parts]
  uint8_t* attend_ = nullptr;       // [threads, attend_bytes]
  float* worker_q_ = nullptr;       // [threads, group_heads, d_latent + d_rope]
  float* worker_out_ = nullptr;     // [threads, group_heads, d_latent]
  int32_t* worker_rows_ = nullptr;  // [threads, n_rows]
  ScratchPlan plan_;
};

}  // namespace

Result<int64_t> workspace_bytes(const SparseAttention& args, const Executor& executor) {
  DSA_ASSIGN_OR_RETURN(const PagedRows pages, check_sparse_attention(args));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  return AttentionTiles(args, pages, *table, executor.n_threads()).plan().workspace_bytes();
}

Status sparse_attention(const SparseAttention& args, Executor& executor, Workspace& workspace) {
  DSA_ASSIGN_OR_RETURN(const PagedRows pages, check_sparse_attention(args));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  const AttentionTiles tiles(args, pages, *table, executor.n_threads());
  DSA_RETURN_IF_ERROR(tiles.plan().place(workspace));
  tiles.run(executor);
  return {};
}

}  // namespace dsa
