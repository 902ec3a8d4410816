// The public operations of dsa/attention.h: checks, then the engine's own operations.
#include <algorithm>
#include <limits>
#include <vector>

#include "dsa/attention.h"

#include "common/status_macros.h"
#include "formats/limits.h"
#include "ops/cache_view.h"
#include "ops/context.h"
#include "ops/indexer.h"
#include "ops/mla.h"

namespace dsa {

static_assert(kTokensPerPage == kPageTokens);

namespace {

constexpr int64_t kMaxHeads = 256;
constexpr int64_t kMaxDim = 4096;
constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();

Status check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid_argument("{}: {}, want {} to {}", name, value, low, high);
}

Status check_size(const char* name, size_t size, uint64_t want) {
  if (size == want) return {};
  return invalid_argument("{}: {} elements, want {}", name, size, want);
}

Status check_even(const char* name, int64_t value) {
  if (value % 2 == 0) return {};
  return invalid_argument("{}: {}, want an even number", name, value);
}

Status check_latent_dims(int64_t d_latent, int64_t d_rope) {
  DSA_RETURN_IF_ERROR(check_range("d_latent", d_latent, 2, kMaxDim));
  DSA_RETURN_IF_ERROR(check_even("d_latent", d_latent));
  DSA_RETURN_IF_ERROR(check_range("d_rope", d_rope, 0, kMaxDim));
  return check_even("d_rope", d_rope);
}

LatentLayout latent_layout(CacheFormat format, int64_t d_latent, int64_t d_rope) {
  return {format, static_cast<size_t>(d_latent), static_cast<size_t>(d_rope)};
}

uint64_t product(std::initializer_list<int64_t> extents) {
  uint64_t result = 1;
  for (const int64_t extent : extents) {
    const auto next = checked_mul(result, static_cast<uint64_t>(extent));
    if (!next) return std::numeric_limits<uint64_t>::max();
    result = *next;
  }
  return result;
}

Status check_index_scores(const IndexScores& args) {
  DSA_RETURN_IF_ERROR(check_range("n_queries", args.n_queries, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_range("n_heads", args.n_heads, 1, kMaxHeads));
  DSA_RETURN_IF_ERROR(check_range("dim", args.dim, 2, int64_t{kMaxIndexDim}));
  if ((args.dim & (args.dim - 1)) != 0) {
    return invalid_argument("dim: {}, want a power of two", args.dim);
  }
  DSA_RETURN_IF_ERROR(check_range("n_keys", args.n_keys, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(
      check_size("q", args.q.size(), product({args.n_queries, args.n_heads, args.dim})));
  DSA_RETURN_IF_ERROR(
      check_size("weights", args.weights.size(), product({args.n_queries, args.n_heads})));
  DSA_RETURN_IF_ERROR(check_size("out", args.out.size(), product({args.n_queries, args.n_keys})));
  const int64_t n_pages = ceil_div(args.n_keys, kTokensPerPage);
  if (static_cast<int64_t>(args.pages.size()) < n_pages) {
    return invalid_argument("pages: {} pages, want {} for {} keys", args.pages.size(), n_pages,
                            args.n_keys);
  }
  const auto pool_pages =
      static_cast<int64_t>(args.pool.size()) / index_page_bytes(args.format, args.dim);
  for (int64_t i = 0; i < n_pages; ++i) {
    const int32_t page = args.pages[static_cast<size_t>(i)];
    if (page >= 0 && page < pool_pages) continue;
    return invalid_argument("pages[{}]: {}, want 0 to {}", i, page, pool_pages - 1);
  }
  return {};
}

Status check_sparse_attention(const SparseAttention& args) {
  DSA_RETURN_IF_ERROR(check_latent_dims(args.d_latent, args.d_rope));
  DSA_RETURN_IF_ERROR(check_range("n_queries", args.n_queries, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_range("n_rows", args.n_rows, 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_range("n_heads", args.n_heads, 1, kMaxCount));
  DSA_RETURN_IF_ERROR(check_size("rows", args.rows.size(), product({args.n_queries, args.n_rows})));
  DSA_RETURN_IF_ERROR(check_size(
      "q", args.q.size(), product({args.n_queries, args.n_heads, args.d_latent + args.d_rope})));
  DSA_RETURN_IF_ERROR(
      check_size("out", args.out.size(), product({args.n_queries, args.n_heads, args.d_latent})));
  if (!args.lse.empty()) {
    DSA_RETURN_IF_ERROR(
        check_size("lse", args.lse.size(), product({args.n_queries, args.n_heads})));
  }
  const auto n_cached = static_cast<int64_t>(args.cache.size()) /
                        latent_row_bytes(args.format, args.d_latent, args.d_rope);
  for (size_t i = 0; i < args.rows.size(); ++i) {
    if (args.rows[i] < n_cached) continue;
    return invalid_argument("rows[{}]: {}, want less than {}", i, args.rows[i], n_cached);
  }
  return {};
}

}  // namespace

int64_t latent_row_bytes(CacheFormat format, int64_t d_latent, int64_t d_rope) {
  return static_cast<int64_t>(latent_layout(format, d_latent, d_rope).row_bytes());
}

int64_t index_page_bytes(CacheFormat format, int64_t dim) {
  return static_cast<int64_t>(IndexKeyLayout{format, static_cast<size_t>(dim)}.page_bytes());
}

Status write_latent_row(CacheFormat format,
                        std::span<const float> latent,
                        std::span<const float> rope,
                        std::span<uint8_t> row) {
  const auto d_latent = static_cast<int64_t>(latent.size());
  const auto d_rope = static_cast<int64_t>(rope.size());
  DSA_RETURN_IF_ERROR(check_latent_dims(d_latent, d_rope));
  const LatentLayout layout = latent_layout(format, d_latent, d_rope);
  DSA_RETURN_IF_ERROR(check_size("row", row.size(), layout.row_bytes()));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  store_latent_row(*table->vector, layout, latent.data(), rope.data(), row.data());
  return {};
}

Status write_index_key(CacheFormat format,
                       std::span<const float> key,
                       int64_t slot,
                       std::span<uint8_t> page) {
  const auto dim = static_cast<int64_t>(key.size());
  DSA_RETURN_IF_ERROR(check_range("key", dim, 2, int64_t{kMaxIndexDim}));
  DSA_RETURN_IF_ERROR(check_range("slot", slot, 0, kTokensPerPage - 1));
  const IndexKeyLayout layout = {format, key.size()};
  DSA_RETURN_IF_ERROR(check_size("page", page.size(), layout.page_bytes()));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  store_index_key(*table->vector, layout, key.data(), static_cast<size_t>(slot), page.data());
  return {};
}

Status index_scores(const IndexScores& args, ThreadPool& pool) {
  DSA_RETURN_IF_ERROR(check_index_scores(args));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  if (args.n_queries == 0) return {};
  const OpContext context = {table, &pool};
  const IndexerDims dims = {static_cast<size_t>(args.n_heads),
                            static_cast<size_t>(args.dim),
                            {args.format, static_cast<size_t>(args.dim)}};
  const auto n_queries = static_cast<size_t>(args.n_queries);
  const auto n_keys = static_cast<size_t>(args.n_keys);
  const size_t packed_bytes =
      table->indexer->packed_query_bytes(args.format, dims.n_heads, dims.dim);
  std::vector<float> q(args.q.begin(), args.q.end());
  std::vector<float> weights(args.weights.begin(), args.weights.end());
  DSA_ASSIGN_OR_RETURN(const AlignedBuffer packed,
                       AlignedBuffer::allocate(n_queries * packed_bytes, "packed queries"));
  pack_queries(context, dims, {q.data(), weights.data(), n_queries, 0}, packed.data(),
               packed_bytes);
  std::vector<const void*> rows(n_queries);
  for (size_t i = 0; i < n_queries; ++i)
    rows[i] = packed.data() + i * packed_bytes;
  score_keys(context, dims, rows.data(), n_queries, args.pool.data(), args.pages.data(), n_keys,
             args.out.data(), n_keys);
  return {};
}

Result<int64_t> select_top_k(std::span<const float> scores, int64_t k, std::span<int32_t> out) {
  DSA_RETURN_IF_ERROR(check_range("scores", static_cast<int64_t>(scores.size()), 0, kMaxCount));
  DSA_RETURN_IF_ERROR(check_range("k", k, 0, kMaxCount));
  const size_t want = std::min(scores.size(), static_cast<size_t>(k));
  if (out.size() < want) {
    return invalid_argument("out: {} elements, want at least {}", out.size(), want);
  }
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  DSA_ASSIGN_OR_RETURN(const AlignedBuffer scratch,
                       AlignedBuffer::allocate(table->indexer->top_k_scratch_bytes(
                                                   scores.size(), static_cast<size_t>(k)),
                                               "scratch of the selection"));
  return static_cast<int64_t>(table->indexer->top_k(
      scores.data(), scores.size(), static_cast<size_t>(k), out.data(), scratch.data()));
}

Status sparse_attention(const SparseAttention& args, ThreadPool& pool) {
  DSA_RETURN_IF_ERROR(check_sparse_attention(args));
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  if (args.n_queries == 0) return {};
  const OpContext context = {table, &pool};
  const auto n_queries = static_cast<size_t>(args.n_queries);
  const auto n_heads = static_cast<size_t>(args.n_heads);
  const std::vector<int32_t> counts(n_queries, static_cast<int32_t>(args.n_rows));
  std::vector<float> lse(n_queries * n_heads);
  RowAttention attention;
  attention.layout = latent_layout(args.format, args.d_latent, args.d_rope);
  attention.base = args.cache.data();
  attention.rows = args.rows.data();
  attention.rows_stride = static_cast<size_t>(args.n_rows);
  attention.counts = counts.data();
  attention.q = args.q.data();
  attention.n_queries = n_queries;
  attention.n_heads = n_heads;
  attention.scale = args.scale;
  attention.out = args.out.data();
  attention.out_stride = n_heads * attention.layout.d_latent;
  attention.lse_stride = n_heads;
  attention.lse = args.lse.empty() ? lse.data() : args.lse.data();
  float* part_out = nullptr;
  float* part_lse = nullptr;
  uint8_t* attend = nullptr;
  const size_t attend_bytes = attend_scratch_bytes(context, attention.layout, n_heads);
  ScratchPlan plan;
  plan.add(&part_out, kMaxAttentionParts * n_heads * attention.layout.d_latent);
  plan.add(&part_lse, kMaxAttentionParts * n_heads);
  plan.add(&attend, static_cast<size_t>(pool.n_threads()) * attend_bytes);
  DSA_ASSIGN_OR_RETURN(const AlignedBuffer scratch, plan.allocate("scratch of the attention"));
  attend_rows(context, attention, part_out, part_lse, attend, attend_bytes);
  return {};
}

}  // namespace dsa
