// The cache that a model and the options of a pass ask for.
#pragma once

#include <cstdint>

#include "dsa/model_config.h"

#include "cache/page_pool.h"
#include "formats/cache_layout.h"
#include "layers/pass_options.h"

namespace dsa {

// Names of planes.
inline constexpr const char* kLatentPlane = "latent";  // LatentLayout, in every layer
inline constexpr const char* kIndexPlane = "index";    // IndexKeyLayout, where the indexer runs

LatentLayout latent_layout(const ModelConfig& config, const PassOptions& options);
IndexKeyLayout index_layout(const ModelConfig& config, const PassOptions& options);

// Layer by layer its planes, and pages for cache_tokens. Only layers whose indexer runs store its
// keys, and only where attention is sparse.
PagePoolOptions pool_options(const ModelConfig& config,
                             const PassOptions& options,
                             int64_t cache_tokens);

}  // namespace dsa
