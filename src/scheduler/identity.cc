#include "scheduler/identity.h"

#include <fmt/format.h>

#include "dsa/forward.h"
#include "dsa/scheduler.h"
#include "dsa/version.h"

namespace dsa::scheduler {

namespace {

// To be raised by whoever changes what the forward pass computes, by as little as a rounding, or
// how a page's bytes are laid out.
constexpr int kPageVersion = 1;

std::string describe_attention(const AttentionOptions& options) {
  switch (options.mode) {
    case AttentionMode::kDsa:
      return fmt::format("dsa:{}+{}+{}", options.top_k, options.keep_first, options.keep_recent);
    case AttentionMode::kDense:
      return "dense";
    case AttentionMode::kWindow:
      return fmt::format("window:{}", options.window);
  }
  return "?";
}

}  // namespace

std::string describe_pages(const Model& model,
                           const EngineOptions& options,
                           const std::string& tier) {
  const ModelConfig& config = model.config();
  return fmt::format(
      "dsa {} pages {} kernels {} kv {} index {} attention {} chunk {} model {} layers {} hidden "
      "{} "
      "checkpoint {}",
      DSA_VERSION, kPageVersion, tier, cache_format_name(options.kv_cache),
      cache_format_name(options.index_cache), describe_attention(options.attention),
      options.page_tokens, config.model_type, config.n_layers, config.hidden_size,
      model.identity());
}

PageKey root_key(const std::string& description) {
  Sha256 hash;
  hash.add(description);
  return hash.finish();
}

PageKey salted_key(const PageKey& root, const std::string& salt) {
  return salt.empty() ? root : root_key(to_hex(root) + salt);
}

}  // namespace dsa::scheduler
