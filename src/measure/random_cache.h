// Caches filled to a depth without computing anything.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/model_config.h"

#include "cache/page_pool.h"
#include "layers/pass_options.h"
#include "ops/cache_view.h"
#include "ops/context.h"

namespace dsa {

// n normal values that depend on the seed alone.
std::vector<float> normal_values(size_t n, uint32_t seed);

// One layer's caches of a sequence.
struct LayerCache {
  LatentCacheView latents;
  IndexCacheView keys;  // without memory where the layer stores none
};

// In the pool that pool_options() asks for.
LayerCache layer_cache(const ModelConfig& config,
                       const PassOptions& options,
                       const PagePool& pool,
                       int64_t layer,
                       std::span<const int32_t> pages);

// Writes random latents, rope keys and indexer keys of tokens [0, n_tokens).
void fill_cache(const OpContext& context, const LayerCache& cache, int64_t n_tokens);

}  // namespace dsa
