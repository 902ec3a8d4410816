#include "measure/layer_cost.h"

#include <algorithm>

#include "formats/cache_layout.h"
#include "measure/weight_type.h"

namespace dsa {

namespace {

class Cost {
 public:
  Cost(const LayerStep& step, const MachineLimits& limits)
      : step_(step), c_(*step.shape), limits_(limits), n_(static_cast<double>(step.n_tokens)) {}

  std::array<PartMeasure, 5> parts() const {
    return {projections(), indexer(), selection(), attention(), output()};
  }

 private:
  bool in_f32() const {
    return step_.options.weights == BenchWeights::kF32 ||
           (step_.options.kv_cache == CacheFormat::kF32 &&
            step_.options.index_cache == CacheFormat::kF32);
  }
  double matmul_flops() const { return in_f32() ? limits_.f32_flops : limits_.bf16_flops; }

  // Cached tokens that the queries of the step see, on average.
  double visible() const { return static_cast<double>(step_.context) - (n_ - 1) / 2; }

  PartMeasure part(
      const char* name, double flops, double peak, double bytes, double bandwidth) const {
    const double seconds = std::max(flops / peak, bytes / bandwidth);
    return {name, 0, flops, bytes, seconds * 1e3};
  }

  // Products with weights of n_weights elements, shared by the tokens of the step.
  PartMeasure products(const char* name, int64_t n_weights) const {
    const auto count = static_cast<double>(n_weights);
    const auto element_bytes = static_cast<double>(dtype_bytes(dtype_of(step_.options.weights)));
    return part(name, 2 * count, matmul_flops(), count * element_bytes / n_, limits_.read_bytes);
  }

  // W_UK of the absorbed form counts here, W_UV as output.
  PartMeasure projections() const {
    const int64_t row = c_.kv_lora_rank + c_.qk_rope_head_dim;
    int64_t weights = c_.hidden_size * (c_.q_lora_rank + row) +
                      c_.q_lora_rank * c_.n_heads * (c_.qk_nope_head_dim + c_.qk_rope_head_dim) +
                      c_.n_heads * c_.qk_nope_head_dim * c_.kv_lora_rank;
    if (step_.attention == AttentionMode::kDsa) weights += c_.hidden_size * c_.indexer.head_dim;
    if (step_.sparse) {
      weights += c_.indexer.n_heads * (c_.hidden_size + c_.q_lora_rank * c_.indexer.head_dim);
    }
    return products("projections", weights);
  }

  PartMeasure indexer() const {
    if (!step_.sparse) return part("indexer", 0, 1, 0, 1);
    const CacheFormat format = step_.options.index_cache;
    const IndexKeyLayout layout = {format, static_cast<size_t>(c_.indexer.head_dim)};
    const double flops =
        2 * static_cast<double>(c_.indexer.n_heads * c_.indexer.head_dim) * visible();
    const double bytes =
        static_cast<double>(layout.entry_bytes()) * static_cast<double>(step_.context) / n_;
    const double dots = format == CacheFormat::kF32 ? limits_.f32_flops : limits_.bf16_flops;
    return part("indexer", flops, step_.int8_first ? limits_.int8_ops : dots, bytes,
                limits_.read_bytes);
  }

  PartMeasure selection() const {
    if (!step_.sparse) return part("selection", 0, 1, 0, 1);
    return part("selection", 0, 1, visible() * sizeof(float), limits_.read_bytes);
  }

  PartMeasure attention() const {
    const LatentLayout layout = {step_.options.kv_cache, static_cast<size_t>(c_.kv_lora_rank),
                                 static_cast<size_t>(c_.qk_rope_head_dim)};
    const auto budget = static_cast<double>(c_.indexer.top_k);
    const double rows = step_.sparse ? budget : visible();
    const double d_row = static_cast<double>(c_.kv_lora_rank + c_.qk_rope_head_dim);
    const auto heads = static_cast<double>(c_.n_heads);
    const double absorbed = 2 * heads * rows * (d_row + static_cast<double>(c_.kv_lora_rank));
    const double peak =
        step_.options.kv_cache == CacheFormat::kF32 ? limits_.f32_flops : limits_.bf16_flops;
    const auto row_bytes = static_cast<double>(layout.row_bytes());
    // Rows that several queries of the step share need be read once.
    const double read = step_.sparse ? std::min(rows, static_cast<double>(step_.context) / n_)
                                     : static_cast<double>(step_.context) / n_;
    return part("attention", std::min(absorbed, expanded_flops()), peak, read * row_bytes,
                step_.sparse ? limits_.gather_bytes : limits_.read_bytes);
  }

  // Every visible pair in expanded form, and the expansion of every cached row.
  double expanded_flops() const {
    const auto heads = static_cast<double>(c_.n_heads);
    const auto d_q = static_cast<double>(c_.qk_nope_head_dim + c_.qk_rope_head_dim);
    const auto d_v = static_cast<double>(c_.v_head_dim);
    const double expand = static_cast<double>(c_.qk_nope_head_dim + c_.v_head_dim) *
                          static_cast<double>(c_.kv_lora_rank);
    return 2 * heads * (visible() * (d_q + d_v) + expand * static_cast<double>(step_.context) / n_);
  }

  PartMeasure output() const {
    return products("output", c_.n_heads * c_.v_head_dim * (c_.hidden_size + c_.kv_lora_rank));
  }

  const LayerStep& step_;
  const ModelConfig& c_;
  const MachineLimits& limits_;
  const double n_;
};

}  // namespace

std::array<PartMeasure, 5> layer_cost(const LayerStep& step, const MachineLimits& limits) {
  return Cost(step, limits).parts();
}

double LayerMeasure::flops() const {
  double sum = 0;
  for (const PartMeasure& part : parts)
    sum += part.flops;
  return sum;
}
double LayerMeasure::bytes() const {
  double sum = 0;
  for (const PartMeasure& part : parts)
    sum += part.bytes;
  return sum;
}
double LayerMeasure::limit_ms() const {
  double sum = 0;
  for (const PartMeasure& part : parts)
    sum += part.limit_ms;
  return sum;
}

}  // namespace dsa
