#include "layers/pool_options.h"

#include "common/math.h"

namespace dsa {

LatentLayout latent_layout(const ModelConfig& config, const PassOptions& options) {
  return {options.kv_cache, static_cast<size_t>(config.kv_lora_rank),
          static_cast<size_t>(config.qk_rope_head_dim)};
}

IndexKeyLayout index_layout(const ModelConfig& config, const PassOptions& options) {
  return {options.index_cache, static_cast<size_t>(config.indexer.head_dim),
          PageSize::of(static_cast<size_t>(options.page_tokens))};
}

PagePoolOptions pool_options(const ModelConfig& config,
                             const PassOptions& options,
                             int64_t cache_tokens) {
  const auto page_tokens = static_cast<size_t>(options.page_tokens);
  const size_t latent_bytes = latent_layout(config, options).row_bytes() * page_tokens;
  const size_t index_bytes = index_layout(config, options).page_bytes();
  PagePoolOptions pool;
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    pool.planes.push_back({layer, kLatentPlane, 1, latent_bytes});
    const IndexerKind kind = config.indexer.layers[static_cast<size_t>(layer)];
    if (options.attention.mode == AttentionMode::kDsa && kind == IndexerKind::kFull) {
      pool.planes.push_back({layer, kIndexPlane, 1, index_bytes});
    }
  }
  pool.page_tokens = options.page_tokens;
  pool.n_pages = ceil_div(cache_tokens, options.page_tokens);
  return pool;
}

}  // namespace dsa
