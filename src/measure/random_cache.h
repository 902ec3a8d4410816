// Caches filled to a depth without computing anything.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/page_pool.h"
#include "ops/context.h"

namespace dsa {

// n normal values that depend on the seed alone.
std::vector<float> normal_values(size_t n, uint32_t seed);

// Writes random latents, rope keys and indexer keys of tokens [0, n_tokens) of one layer.
void fill_cache(const OpContext& context,
                const PagePool& pool,
                int64_t layer,
                std::span<const int32_t> pages,
                int64_t n_tokens);

}  // namespace dsa
