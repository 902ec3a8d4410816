#include "layers/forward_pass.h"

#include "common/status_macros.h"
#include "layers/wanted_rows.h"

namespace dsa {

namespace {

Twins read_by_any_layer(const OpContext& context, const ModelWeights& weights) {
  Twins twins;
  for (const LayerWeights& layer : weights.layers)
    twins.add(read_by(context, layer));
  return twins;
}

}  // namespace

OpContext product_context(const OpContext& context, const PassOptions& options) {
  OpContext products = context;
  products.f32_products =
      options.kv_cache == CacheFormat::kF32 && options.index_cache == CacheFormat::kF32;
  return products;
}

ForwardPass::ForwardPass(const ModelConfig& config,
                         const ModelWeights& weights,
                         const PassOptions& options,
                         const OpContext& context,
                         const PagePool* pool)
    : weights_(weights),
      context_(product_context(context, options)),
      max_rows_(static_cast<size_t>(options.max_batch_tokens)),
      twins_(read_by_any_layer(context_, weights)),
      residual_(context_,
                static_cast<size_t>(config.hidden_size),
                static_cast<float>(config.rms_norm_eps),
                twins_),
      attention_(config, options, context_, pool, twins_),
      selection_(options, static_cast<size_t>(pool->n_tokens())),
      feed_forward_(config, context_, max_rows_, twins_),
      head_(config, weights, context_) {}

Result<std::unique_ptr<ForwardPass>> ForwardPass::create(const ModelConfig& config,
                                                         const ModelWeights& weights,
                                                         const PassOptions& options,
                                                         const OpContext& context,
                                                         const PagePool* pool) {
  std::unique_ptr<ForwardPass> pass(new ForwardPass(config, weights, options, context, pool));
  DSA_RETURN_IF_ERROR(pass->allocate());
  return pass;
}

Status ForwardPass::allocate() {
  ScratchPlan plan;
  residual_.plan(&plan, max_rows_);
  head_.plan(&plan, max_rows_);
  attention_.plan(&plan);
  selection_.plan(&plan, max_rows_);
  feed_forward_.plan(&plan);
  DSA_ASSIGN_OR_RETURN(scratch_, plan.allocate("scratch of the forward pass"));
  return {};
}

void ForwardPass::begin(std::span<const PlacedStep> steps, const ForwardHooks& hooks) {
  steps_ = steps;
  hooks_ = &hooks;
  n_run_ = 0;
  residual_.begin(count_tokens(steps));
  attention_.begin(steps);
  selection_.begin(steps, hooks.selection_scores && hooks.selection != nullptr);
  feed_forward_.begin(steps);
  embed();
}

bool ForwardPass::advance() {
  const size_t piece = n_run_++;
  const size_t layer = piece / 2;
  if (layer == weights_.layers.size()) {
    if (hooks_->hidden) report_hidden();
    if (hooks_->logits) head_.run(steps_, residual_, hooks_->logits);
    return false;
  }
  if (piece % 2 == 0) {
    run_attention(layer);
  } else {
    run_feed_forward(layer);
  }
  return true;
}

void ForwardPass::embed() {
  size_t row = 0;
  for (const PlacedStep& step : steps_) {
    for (const int32_t token : step.tokens)
      load_row(context_, weights_.embedding, static_cast<size_t>(token), residual_.row(row++));
  }
}

void ForwardPass::run_attention(size_t layer) {
  const LayerWeights& weights = weights_.layers[layer];
  const Activation x = residual_.read(weights.input_norm, attention_.input_twins(weights));
  attention_.run(layer, weights, x, &selection_, residual_.output());
  residual_.add();
  if (hooks_->selection) report_selection(layer);
}

void ForwardPass::run_feed_forward(size_t layer) {
  const LayerWeights& weights = weights_.layers[layer];
  const Activation x =
      residual_.read(weights.post_attention_norm, feed_forward_.input_twins(weights));
  feed_forward_.run(weights, x, residual_.output());
  residual_.add();
}

void ForwardPass::report_selection(size_t layer) {
  for (size_t s = 0; s < steps_.size(); ++s) {
    if (!steps_[s].selections) continue;
    for (size_t i = 0; i < steps_[s].tokens.size(); ++i)
      hooks_->selection(selection_.row(s, i, layer));
  }
}

void ForwardPass::report_hidden() {
  for (const WantedRow& wanted : wanted_rows(steps_, &PlacedStep::hidden)) {
    hooks_->hidden({wanted.step, wanted.position, {residual_.row(wanted.row), residual_.width()}});
  }
}

}  // namespace dsa
