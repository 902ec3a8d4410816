// DSA's operations on caches in the caller's own memory: writers of the two caches, indexer scores,
// selection, attention over lists of rows. These are the operations the engine itself runs.
//
// A call takes a batch: the queries of many sequences, each with its own length, and finds their
// tokens in paged caches through block tables. A result depends on its query, its list and the
// tokens it reads: not on the rest of the batch, the size of pages, the number of threads or the
// order in which an executor runs items. It is bit-identical whatever these are.
//
// Layouts of rows and pages are in docs/formats.md; scales are powers of two. Arrays are row-major
// and dense unless a stride is named. Outputs must not overlap inputs.
//   Errors  kInvalidArgument naming the argument, what it was and what was wanted; nothing has
//           been written then. kUnsupported when DSA_CPU_TIER cannot run here.
//           kResourceExhausted: a workspace with memory of its own gets no more of it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "dsa/executor.h"
#include "dsa/status.h"
#include "dsa/types.h"
#include "dsa/workspace.h"

#pragma GCC visibility push(default)

namespace dsa {

enum class FloatType : uint8_t { kF32, kBF16 };

// f32 or bf16 values that are read in place. bf16 values are the upper halves of floats.
struct FloatView {
  FloatView() = default;
  template <class Range>
  requires std::convertible_to<const Range&, std::span<const float>> FloatView(
      const Range& f32)  // NOLINT(google-explicit-constructor)
      : FloatView(FloatType::kF32, std::span<const float>(f32)) {}
  template <class Range>
  requires std::convertible_to<const Range&, std::span<const uint16_t>> FloatView(
      const Range& bf16)  // NOLINT(google-explicit-constructor)
      : FloatView(FloatType::kBF16, std::span<const uint16_t>(bf16)) {}

  FloatType type = FloatType::kF32;
  const void* data = nullptr;
  size_t size = 0;  // values

 private:
  template <class T>
  FloatView(FloatType t, std::span<const T> values)
      : type(t), data(values.data()), size(values.size()) {}
};

// f32 or bf16 values that are written.
struct MutableFloatView {
  MutableFloatView() = default;
  template <class Range>
  requires std::convertible_to<Range&, std::span<float>> MutableFloatView(
      Range&& f32)  // NOLINT(google-explicit-constructor)
      : MutableFloatView(FloatType::kF32, std::span<float>(f32)) {}
  template <class Range>
  requires std::convertible_to<Range&, std::span<uint16_t>> MutableFloatView(
      Range&& bf16)  // NOLINT(google-explicit-constructor)
      : MutableFloatView(FloatType::kBF16, std::span<uint16_t>(bf16)) {}

  FloatType type = FloatType::kF32;
  void* data = nullptr;
  size_t size = 0;

 private:
  template <class T>
  MutableFloatView(FloatType t, std::span<T> values)
      : type(t), data(values.data()), size(values.size()) {}
};

// A cache in the caller's memory. Page p is page_tokens tokens at data + p * page_stride; what lies
// between pages, and between rows, is neither read nor written. Any page size and any alignment.
template <class Byte>
struct BasicPagedView {
  Byte* data = nullptr;
  int64_t n_pages = 0;
  int64_t page_stride = 0;  // bytes; 0: pages follow each other
  int64_t row_stride = 0;   // bytes; 0: the rows of a page follow each other
  int64_t page_tokens = kDefaultPageTokens;

  operator BasicPagedView<const Byte>() const {  // NOLINT(google-explicit-constructor)
    return {data, n_pages, page_stride, row_stride, page_tokens};
  }
};
using PagedView = BasicPagedView<const uint8_t>;
using MutablePagedView = BasicPagedView<uint8_t>;

// The sequences of a batch. The queries of sequence s are [query_start[s], query_start[s + 1]) of
// every array of queries; its token t is in page block_tables[s, t / page_tokens].
struct SequenceBatch {
  std::span<const int32_t> query_start = {};   // [n_sequences + 1], ascending, from 0 to n_queries
  std::span<const int32_t> lengths = {};       // [n_sequences] tokens in the cache, maybe 0
  std::span<const int32_t> block_tables = {};  // [n_sequences, max_blocks]
  int64_t max_blocks = 0;
  // [n_queries] Query i sees tokens [0, visible[i]) of its sequence. Empty: the last query of a
  // sequence sees all of them, each query before it one fewer.
  std::span<const int32_t> visible = {};
};

// Bytes of one token's latent row: [d_latent] latent and [d_rope] rope key.
// fp8 at 512 + 64: 656.
int64_t latent_row_bytes(CacheFormat format, int64_t d_latent, int64_t d_rope);

// Bytes of a page of indexer keys. fp8 at dim 128 and 64 tokens: 64 * 132.
int64_t index_page_bytes(CacheFormat format, int64_t dim, int64_t page_tokens = kDefaultPageTokens);

// Writes latent rows. Slot page * page_tokens + place; a negative one is skipped, none comes twice.
struct WriteLatentRows {
  CacheFormat format = CacheFormat::kFp8;
  int64_t d_latent = 0;                 // even
  int64_t d_rope = 0;                   // even, maybe 0
  FloatView latent = {};                // [n, d_latent] after its norm
  FloatView rope = {};                  // [n, d_rope] after RoPE
  std::span<const int64_t> slots = {};  // [n]
  MutablePagedView cache = {};
};
Status write_latent_rows(const WriteLatentRows& args, Executor& executor);

// Writes indexer keys: [n, dim] after LayerNorm, RoPE and Hadamard. Slots as above. A page of keys
// has one layout: its row_stride is 0 and its page_tokens a power of two.
struct WriteIndexKeys {
  CacheFormat format = CacheFormat::kFp8;
  int64_t dim = 0;
  FloatView keys = {};                  // [n, dim]
  std::span<const int64_t> slots = {};  // [n]
  MutablePagedView cache = {};
};
Status write_index_keys(const WriteIndexKeys& args, Executor& executor);

//   out[i, j] = sum_h weights[i,h] * max(<q[i,h,:], key_j>, 0)     j < visible, else -inf
// With fp8 keys each query head is rounded to e4m3 with its own scale, as DeepSeek's reference
// does; with bf16 keys to bf16.
struct IndexScores {
  CacheFormat format = CacheFormat::kFp8;
  int64_t n_heads = 0;
  int64_t dim = 0;         // a power of two
  FloatView q = {};        // [n_queries, n_heads, dim]
  FloatView weights = {};  // [n_queries, n_heads]
  PagedView keys = {};     // row_stride 0, page_tokens a power of two
  SequenceBatch batch = {};
  int64_t n_scores = 0;       // at least the most tokens that a query sees
  std::span<float> out = {};  // [n_queries, n_scores]
};
Status index_scores(const IndexScores& args, Executor& executor, Workspace& workspace);
Result<int64_t> workspace_bytes(const IndexScores& args, const Executor& executor);

// The min(k, visible) best scores of each query: greater score first, equal scores the more recent
// (greater) index first, NaN last.
struct SelectTopK {
  std::span<const float> scores = {};  // [n_queries, n_scores]
  int64_t n_queries = 0;
  int64_t n_scores = 0;
  std::span<const int32_t> visible =
      {};  // [n_queries] the first of a query's scores count; empty: all
  int64_t k = 0;
  std::span<int32_t> out = {};     // [n_queries, k] ascending, then -1
  std::span<int32_t> counts = {};  // [n_queries] how many were selected; may be empty
};
Status select_top_k(const SelectTopK& args, Executor& executor, Workspace& workspace);
Result<int64_t> workspace_bytes(const SelectTopK& args, const Executor& executor);

//   out[i,h,:] = sum_j p[i,h,j] * row_j[0..d_latent)
//   p[i,h,j]   = exp(scale * <q[i,h,:], row_j>) / (exp(sinks[h]) + sum_j exp(...))
// over the rows that list i names. A negative entry is masked; an entry named twice counts twice.
// A query without a valid row gives 0.
struct SparseAttention {
  CacheFormat format = CacheFormat::kFp8;
  int64_t d_latent = 0;
  int64_t d_rope = 0;
  int64_t n_heads = 0;
  int64_t n_queries = 0;
  float scale = 0;   // DeepSeek-V3.2: 0.1352338
  FloatView q = {};  // [n_queries, n_heads, d_latent + d_rope]
  PagedView cache = {};

  std::span<const int32_t> rows = {};  // [n_queries, n_rows]
  int64_t n_rows = 0;
  std::span<const int32_t> counts =
      {};  // [n_queries] entries of each list that count; empty: n_rows
  // With block tables the entries are tokens of the query's sequence; without them (a default
  // SequenceBatch) they are slots, page * page_tokens + place. Its `visible` is not read.
  SequenceBatch batch = {};

  std::span<const float> sinks = {};  // [n_heads] logits, infinities allowed; empty: none

  MutableFloatView out = {};  // [n_queries, n_heads, d_latent]
  // [n_queries, n_heads] natural log of sum_j exp(scale * <q, row_j>), without the sink, as
  // FlashMLA gives it; may be empty.
  std::span<float> lse = {};
  float empty_lse = -std::numeric_limits<float>::infinity();  // without a valid row; FlashMLA: +inf
};
Status sparse_attention(const SparseAttention& args, Executor& executor, Workspace& workspace);
Result<int64_t> workspace_bytes(const SparseAttention& args, const Executor& executor);

}  // namespace dsa

#pragma GCC visibility pop
