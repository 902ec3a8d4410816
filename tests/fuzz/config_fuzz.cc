// Any text as a config.json: refused, or a model whose sizes can be multiplied without overflow.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "dsa/model_config.h"

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

void check_sizes(const dsa::ModelConfig& config) {
  int64_t attention = 0;
  const int64_t width = config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim;
  check(!__builtin_mul_overflow(config.n_heads * width, config.hidden_size, &attention));
  int64_t logits = 0;
  check(!__builtin_mul_overflow(config.vocab_size, config.hidden_size * 8, &logits));
  const dsa::MoeConfig& moe = config.moe;
  check(moe.n_experts % moe.n_groups == 0);
  check(moe.n_experts_per_token <= moe.top_k_groups * (moe.n_experts / moe.n_groups));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto config = dsa::parse_model_config(text, "fuzz");
  if (!config.ok()) {
    check(!config.status().message().empty());
    return 0;
  }
  check_sizes(*config);
  check(config->softmax_scale() > 0);
  check(static_cast<int64_t>(config->indexer.layers.size()) == config->n_layers);
  check(config->indexer.layers[0] == dsa::IndexerKind::kFull);
  return 0;
}
