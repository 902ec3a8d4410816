// DSA's operations on the caller's own memory: indexer scores, selection, attention over a list of
// rows, and the writers of the two cache formats. These are the operations the engine itself runs.
//
// Every call checks its arguments, splits the work over the pool and gives bit-identical results
// for any number of threads. Layouts are in docs/formats.md; scales are powers of two.
//   Errors  kInvalidArgument naming the argument, what it was and what was wanted; nothing has
//           been written then. kUnsupported when DSA_CPU_TIER cannot run here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dsa/status.h"
#include "dsa/thread_pool.h"
#include "dsa/types.h"

namespace dsa {

// Bytes of one token's latent row: [d_latent] latent and [d_rope] rope key.
// fp8 at 512 + 64: 656.
int64_t latent_row_bytes(CacheFormat format, int64_t d_latent, int64_t d_rope);

// Bytes of a page of 64 indexer keys. fp8 at dim 128: 64 * 132.
int64_t index_page_bytes(CacheFormat format, int64_t dim);

// Writes one latent row: latent [d_latent] f32 (after its norm), rope [d_rope] f32 (after RoPE).
Status write_latent_row(CacheFormat format,
                        std::span<const float> latent,
                        std::span<const float> rope,
                        std::span<uint8_t> row);

// Writes the key of token `slot` (0..63) of a page: key [dim] f32 (after LayerNorm, RoPE,
// Hadamard).
Status write_index_key(CacheFormat format,
                       std::span<const float> key,
                       int64_t slot,
                       std::span<uint8_t> page);

//   out[i, j] = sum_h weights[i,h] * max(<q[i,h,:], key_j>, 0)
// With fp8 keys each query head is rounded to e4m3 with its own scale, as DeepSeek's reference
// does; with bf16 keys to bf16.
struct IndexScores {
  CacheFormat format = CacheFormat::kFp8;
  std::span<const float> q;        // [n_queries, n_heads, dim]
  std::span<const float> weights;  // [n_queries, n_heads]
  int64_t n_queries = 0;
  int64_t n_heads = 0;
  int64_t dim = 0;                 // a power of two
  std::span<const uint8_t> pool;   // pages of index_page_bytes(format, dim)
  std::span<const int32_t> pages;  // page of tokens [64 p, 64 p + 64)
  int64_t n_keys = 0;
  std::span<float> out;  // [n_queries, n_keys]
};
Status index_scores(const IndexScores& args, ThreadPool& pool);

// The k best of scores[0..n_scores): greater score first, equal scores the more recent (greater)
// index first, NaN last. Returns how many (min(n, k)); out gets them ascending.
Result<int64_t> select_top_k(std::span<const float> scores, int64_t k, std::span<int32_t> out);

//   out[i,h,:] = sum_j p[i,h,j] * row_j[0..d_latent),   p = softmax_j(scale * <q[i,h,:], row_j>)
// over rows[i, :]. A negative entry is masked; an entry named twice counts twice. A query with no
// valid row gives 0 and lse = -inf.
struct SparseAttention {
  CacheFormat format = CacheFormat::kFp8;
  int64_t d_latent = 0;
  int64_t d_rope = 0;
  std::span<const uint8_t> cache;  // rows of latent_row_bytes(); row r starts at r * that
  std::span<const int32_t> rows;   // [n_queries, n_rows]
  int64_t n_rows = 0;
  std::span<const float> q;  // [n_queries, n_heads, d_latent + d_rope]
  int64_t n_queries = 0;
  int64_t n_heads = 0;
  float scale = 0;       // DeepSeek-V3.2: 0.1352338
  std::span<float> out;  // [n_queries, n_heads, d_latent]
  std::span<float> lse;  // [n_queries, n_heads] natural log; may be empty
};
Status sparse_attention(const SparseAttention& args, ThreadPool& pool);

}  // namespace dsa
