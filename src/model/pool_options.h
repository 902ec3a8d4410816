// The page pool that a model and the options of an engine ask for.
#pragma once

#include "dsa/engine.h"
#include "dsa/model_config.h"

#include "cache/page_pool.h"

namespace dsa {

// Pages for options.cache_tokens. Only layers whose indexer runs store its keys, and only where
// attention is sparse.
PagePoolOptions pool_options(const ModelConfig& config, const EngineOptions& options);

}  // namespace dsa
