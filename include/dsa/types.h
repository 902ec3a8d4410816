// Small types that several public headers share.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)

namespace dsa {

// Tokens per cache page, unless EngineOptions::page_tokens says otherwise.
inline constexpr int64_t kDefaultPageTokens = 64;

// How a cache stores its values; docs/formats.md has the bytes.
//   kFp8   e4m3 with power-of-two scales: 656 + 132 bytes per token and layer at V3.2's shape
//   kBF16  bfloat16
//   kF32   float; with both caches in kF32 the whole forward pass computes in f32
enum class CacheFormat : uint8_t { kFp8, kBF16, kF32 };

constexpr const char* cache_format_name(CacheFormat format) {
  switch (format) {
    case CacheFormat::kFp8:
      return "fp8";
    case CacheFormat::kBF16:
      return "bf16";
    case CacheFormat::kF32:
      return "f32";
  }
  return "?";
}

// Which earlier tokens a query attends to.
//   kDsa     the k tokens the lightning indexer scores highest
//   kDense   all of them
//   kWindow  the most recent ones, the query's own token included
enum class AttentionMode : uint8_t { kDsa, kDense, kWindow };

}  // namespace dsa

#pragma GCC visibility pop
