// The entry points of the indexer's table. Formats names the Keys of every cache format: Fp8, Bf16
// and F32.
#pragma once

#include "kernels/generic/indexer_scores.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

template <class Formats>
size_t packed_query_bytes(CacheFormat format, size_t n_heads, size_t dim) noexcept {
  switch (format) {
    case CacheFormat::kFp8:
      return packed_bytes<typename Formats::Fp8>(n_heads, dim);
    case CacheFormat::kBF16:
      return packed_bytes<typename Formats::Bf16>(n_heads, dim);
    case CacheFormat::kF32:
      break;
  }
  return packed_bytes<typename Formats::F32>(n_heads, dim);
}

template <class Formats>
void pack_query(CacheFormat format,
                const float* q,
                const float* weights,
                size_t n_heads,
                size_t dim,
                void* packed) noexcept {
  switch (format) {
    case CacheFormat::kFp8:
      return pack_heads<typename Formats::Fp8>(q, weights, n_heads, dim, packed);
    case CacheFormat::kBF16:
      return pack_heads<typename Formats::Bf16>(q, weights, n_heads, dim, packed);
    case CacheFormat::kF32:
      return pack_heads<typename Formats::F32>(q, weights, n_heads, dim, packed);
  }
}

template <class Formats>
void scores(const IndexScoresArgs& args) noexcept {
  switch (args.layout.format) {
    case CacheFormat::kFp8:
      return score_range<typename Formats::Fp8>(args);
    case CacheFormat::kBF16:
      return score_range<typename Formats::Bf16>(args);
    case CacheFormat::kF32:
      return score_range<typename Formats::F32>(args);
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
