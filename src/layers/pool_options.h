// The page pool that a model and the options of a pass ask for.
#pragma once

#include <cstdint>

#include "dsa/model_config.h"

#include "cache/page_pool.h"
#include "layers/pass_options.h"

namespace dsa {

// Pages for cache_tokens. Only layers whose indexer runs store its keys, and only where
// attention is sparse.
PagePoolOptions pool_options(const ModelConfig& config,
                             const PassOptions& options,
                             int64_t cache_tokens);

}  // namespace dsa
