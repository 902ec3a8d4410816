#include "layers/pool_options.h"

#include "common/math.h"

namespace dsa {

PagePoolOptions pool_options(const ModelConfig& config,
                             const PassOptions& options,
                             int64_t cache_tokens) {
  PagePoolOptions pool;
  pool.latent = {options.kv_cache, static_cast<size_t>(config.kv_lora_rank),
                 static_cast<size_t>(config.qk_rope_head_dim)};
  pool.index = {options.index_cache, static_cast<size_t>(config.indexer.head_dim)};
  pool.n_layers = config.n_layers;
  for (const IndexerKind kind : config.indexer.layers) {
    pool.has_index.push_back(options.attention.mode == AttentionMode::kDsa &&
                             kind == IndexerKind::kFull);
  }
  pool.n_pages = ceil_div(cache_tokens, int64_t{kPageTokens});
  return pool;
}

}  // namespace dsa
