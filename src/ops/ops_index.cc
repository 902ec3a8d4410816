// Indexer scores and selection of dsa/ops.h.
#include <algorithm>

#include "common/math.h"
#include "common/status_macros.h"
#include "formats/limits.h"
#include "ops/context.h"
#include "ops/float_rows.h"
#include "ops/indexer.h"
#include "ops/ops_checks.h"
#include "runtime/scratch.h"

namespace dsa {

namespace {

constexpr int64_t kMaxHeads = 256;
constexpr size_t kTileQueries = 64;    // packed at a time
constexpr size_t kKeysPerItem = 2048;  // scored by one work item

Status check_index_scores(const IndexScores& args) {
  DSA_RETURN_IF_ERROR(check_range("n_heads", args.n_heads, 1, kMaxHeads));
  DSA_RETURN_IF_ERROR(check_range("dim", args.dim, 2, int64_t{kMaxIndexDim}));
  if ((args.dim & (args.dim - 1)) != 0) {
    return invalid_argument("dim: {}, want a power of two", args.dim);
  }
  DSA_ASSIGN_OR_RETURN(const PagedRows pages,
                       check_key_pages("keys", args.keys, args.format, args.dim));
  DSA_RETURN_IF_ERROR(
      check_batch(args.batch, args.keys.n_pages, static_cast<int64_t>(pages.page_tokens)));
  const int64_t n_queries = n_queries_of(args.batch);
  DSA_RETURN_IF_ERROR(check_size("q", args.q.size, {n_queries, args.n_heads, args.dim}));
  DSA_RETURN_IF_ERROR(check_size("weights", args.weights.size, {n_queries, args.n_heads}));
  DSA_RETURN_IF_ERROR(check_range("n_scores", args.n_scores, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_size("out", args.out.size(), {n_queries, args.n_scores}));
  for (size_t i = 0; i < static_cast<size_t>(n_queries); ++i) {
    const size_t visible = visible_tokens(args.batch, sequence_of(args.batch, i), i);
    if (visible <= static_cast<size_t>(args.n_scores)) continue;
    return invalid_argument("n_scores: {}, want {} for query {}", args.n_scores, visible, i);
  }
  return {};
}

// Queries of one sequence in a tile.
struct Run {
  size_t sequence;
  size_t first;  // query
  size_t count;
  size_t n_keys;  // the most that one of them sees
};

class ScoreTiles {
 public:
  ScoreTiles(const IndexScores& args, const OpContext& context)
      : args_(args),
        context_(context),
        dims_{static_cast<size_t>(args.n_heads),
              static_cast<size_t>(args.dim),
              {args.format, static_cast<size_t>(args.dim),
               PageSize::of(static_cast<size_t>(args.keys.page_tokens))}},
        n_queries_(static_cast<size_t>(n_queries_of(args.batch))),
        n_scores_(static_cast<size_t>(args.n_scores)),
        packed_bytes_(
            context.kernels->indexer->packed_query_bytes(args.format, dims_.n_heads, dims_.dim)) {
    const size_t tile = std::min(n_queries_, kTileQueries);
    plan_.add(&q_, tile * dims_.n_heads * dims_.dim);
    plan_.add(&weights_, tile * dims_.n_heads);
    plan_.add(&packed_, tile * packed_bytes_);
    plan_.add(&packed_rows_, tile);
    plan_.add(&runs_, tile);
  }

  const ScratchPlan& plan() const { return plan_; }

  void run() {
    const size_t page_stride = stride();
    for (size_t first = 0; first < n_queries_; first += kTileQueries) {
      const size_t count = std::min(kTileQueries, n_queries_ - first);
      pack(first, count);
      score(first, find_runs(first, count), page_stride);
    }
  }

 private:
  size_t stride() const {
    return args_.keys.page_stride != 0 ? static_cast<size_t>(args_.keys.page_stride)
                                       : dims_.layout.page_bytes();
  }

  void pack(size_t first, size_t count) {
    const kernels::VectorKernels& vector = context_.vector();
    const size_t width = dims_.n_heads * dims_.dim;
    copy_floats(vector, args_.q, first * width, count * width, q_);
    copy_floats(vector, args_.weights, first * dims_.n_heads, count * dims_.n_heads, weights_);
    pack_queries(context_, dims_, {q_, weights_, count, 0}, packed_, packed_bytes_);
    for (size_t i = 0; i < count; ++i)
      packed_rows_[i] = packed_ + i * packed_bytes_;
  }

  size_t find_runs(size_t first, size_t count) {
    size_t n_runs = 0;
    for (size_t query = first; query < first + count;) {
      Run& run = runs_[n_runs++];
      run.sequence = sequence_of(args_.batch, query);
      run.first = query;
      const auto end = static_cast<size_t>(args_.batch.query_start[run.sequence + 1]);
      run.count = std::min(end, first + count) - query;
      run.n_keys = 0;
      for (size_t i = 0; i < run.count; ++i)
        run.n_keys = std::max(run.n_keys, visible_tokens(args_.batch, run.sequence, run.first + i));
      query += run.count;
    }
    return n_runs;
  }

  void score(size_t tile_first, size_t n_runs, size_t page_stride) {
    const size_t parts = ceil_div(n_scores_, kKeysPerItem);
    context_.pool->parallel_for(static_cast<int64_t>(n_runs * parts), [&](int64_t item, int) {
      const Run& run = runs_[static_cast<size_t>(item) / parts];
      const size_t first = static_cast<size_t>(item) % parts * kKeysPerItem;
      const size_t end = std::min(first + kKeysPerItem, n_scores_);
      kernels::IndexScoresArgs args;
      args.queries = packed_rows_ + (run.first - tile_first);
      args.n_queries = run.count;
      args.n_heads = dims_.n_heads;
      args.layout = dims_.layout;
      args.base = args_.keys.data;
      args.page_stride = page_stride;
      args.pages = args_.batch.block_tables.data() +
                   run.sequence * static_cast<size_t>(args_.batch.max_blocks);
      args.first = first;
      args.last = std::min(end, run.n_keys);
      args.out = args_.out.data() + run.first * n_scores_ + first;
      args.ld_out = n_scores_;
      if (args.first < args.last) context_.kernels->indexer->scores(args);
      for (size_t i = 0; i < run.count; ++i) {
        const size_t visible = visible_tokens(args_.batch, run.sequence, run.first + i);
        float* row = args_.out.data() + (run.first + i) * n_scores_;
        std::fill(row + std::clamp(visible, first, end), row + end,
                  -std::numeric_limits<float>::infinity());
      }
    });
  }

  const IndexScores& args_;
  const OpContext context_;
  const IndexerDims dims_;
  const size_t n_queries_;
  const size_t n_scores_;
  const size_t packed_bytes_;
  float* q_ = nullptr;        // [tile, n_heads, dim]
  float* weights_ = nullptr;  // [tile, n_heads]
  uint8_t* packed_ = nullptr;
  const void** packed_rows_ = nullptr;  // [tile]
  Run* runs_ = nullptr;                 // [tile]
  ScratchPlan plan_;
};

Status check_select_top_k(const SelectTopK& args) {
  DSA_RETURN_IF_ERROR(check_range("n_queries", args.n_queries, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_range("n_scores", args.n_scores, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_range("k", args.k, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_size("scores", args.scores.size(), {args.n_queries, args.n_scores}));
  DSA_RETURN_IF_ERROR(check_size("out", args.out.size(), {args.n_queries, args.k}));
  if (!args.counts.empty()) {
    DSA_RETURN_IF_ERROR(check_size("counts", args.counts.size(), {args.n_queries}));
  }
  if (args.visible.empty()) return {};
  DSA_RETURN_IF_ERROR(check_size("visible", args.visible.size(), {args.n_queries}));
  for (size_t i = 0; i < args.visible.size(); ++i) {
    if (args.visible[i] >= 0 && args.visible[i] <= args.n_scores) continue;
    return invalid_argument("visible[{}]: {}, want 0 to {}", i, args.visible[i], args.n_scores);
  }
  return {};
}

// Of one worker, a multiple of 64.
size_t top_k_bytes(const kernels::KernelTable& table, const SelectTopK& args) {
  return round_up<size_t>(table.indexer->top_k_scratch_bytes(static_cast<size_t>(args.n_scores),
                                                             static_cast<size_t>(args.k)),
                          64);
}

}  // namespace

Result<int64_t> workspace_bytes(const IndexScores& args, const Executor& /*executor*/) {
  DSA_RETURN_IF_ERROR(check_index_scores(args));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  return ScoreTiles(args, {table}).plan().workspace_bytes();
}

Status index_scores(const IndexScores& args, Executor& executor, Workspace& workspace) {
  DSA_RETURN_IF_ERROR(check_index_scores(args));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  ScoreTiles tiles(args, {table, &executor});
  DSA_RETURN_IF_ERROR(tiles.plan().place(workspace));
  tiles.run();
  return {};
}

Result<int64_t> workspace_bytes(const SelectTopK& args, const Executor& executor) {
  DSA_RETURN_IF_ERROR(check_select_top_k(args));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  uint8_t* scratch = nullptr;
  ScratchPlan plan;
  plan.add(&scratch,
           saturating_mul(top_k_bytes(*table, args), static_cast<size_t>(executor.n_threads())));
  return plan.workspace_bytes();
}

Status select_top_k(const SelectTopK& args, Executor& executor, Workspace& workspace) {
  DSA_RETURN_IF_ERROR(check_select_top_k(args));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  const size_t bytes = top_k_bytes(*table, args);
  uint8_t* scratch = nullptr;
  ScratchPlan plan;
  plan.add(&scratch, saturating_mul(bytes, static_cast<size_t>(executor.n_threads())));
  DSA_RETURN_IF_ERROR(plan.place(workspace));
  const auto k = static_cast<size_t>(args.k);
  executor.parallel_for(args.n_queries, [&](int64_t item, int worker) {
    const auto i = static_cast<size_t>(item);
    const size_t n = args.visible.empty() ? static_cast<size_t>(args.n_scores)
                                          : static_cast<size_t>(args.visible[i]);
    const float* scores = args.scores.data() + i * static_cast<size_t>(args.n_scores);
    int32_t* out = args.out.data() + i * k;
    const size_t count =
        table->indexer->top_k(scores, n, k, out, scratch + static_cast<size_t>(worker) * bytes);
    std::fill(out + count, out + k, -1);
    if (!args.counts.empty()) args.counts[i] = static_cast<int32_t>(count);
  });
  return {};
}

}  // namespace dsa
