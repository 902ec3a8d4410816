#include "measure/random_cache.h"

#include <algorithm>
#include <random>

#include "layers/pool_options.h"

namespace dsa {

std::vector<float> normal_values(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

LayerCache layer_cache(const ModelConfig& config,
                       const PassOptions& options,
                       const PagePool& pool,
                       int64_t layer,
                       std::span<const int32_t> pages) {
  const IndexKeyLayout keys = index_layout(config, options);
  return {{latent_layout(config, options), pool.plane(layer, kLatentPlane).base, pages, keys.page},
          {keys, pool.plane(layer, kIndexPlane).base, pages}};
}

void fill_cache(const OpContext& context, const LayerCache& cache, int64_t n_tokens) {
  constexpr size_t kTable = size_t{1} << 20;
  const std::vector<float> table = normal_values(kTable, 7);
  const LatentCacheView& latents = cache.latents;
  const IndexCacheView& keys = cache.keys;
  const size_t d_latent = latents.layout.d_latent;
  const size_t width = d_latent + latents.layout.d_rope + keys.layout.dim;
  const auto n = static_cast<size_t>(n_tokens);
  constexpr size_t kTokensPerItem = 1024;
  const size_t n_items = (n + kTokensPerItem - 1) / kTokensPerItem;
  context.pool->parallel_for(static_cast<int64_t>(n_items), [&](int64_t item, int) {
    const size_t begin = static_cast<size_t>(item) * kTokensPerItem;
    for (size_t t = begin; t < std::min(begin + kTokensPerItem, n); ++t) {
      // A window of the table: far apart for neighbouring tokens.
      const float* values = table.data() + t * 2654435761U % (kTable - width);
      store_latent_row(context.vector(), latents.layout, values, values + d_latent,
                       latents.row_address(t));
      if (keys.base == nullptr) continue;
      store_index_key(context.vector(), keys.layout, values + width - keys.layout.dim,
                      keys.layout.page.slot(t), keys.page_address(t));
    }
  });
}

}  // namespace dsa
