#include "model/forward.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "common/status_macros.h"

namespace dsa {

namespace {

constexpr size_t kLogitBytes = size_t{8} << 20;  // logits that exist at a time

size_t as_size(int64_t value) {
  return static_cast<size_t>(value);
}

Activation activation(const RowBuffer& buffer) {
  return {buffer.f32, buffer.bf16, buffer.ld};
}

// One row of a matrix of any plain type as f32.
void load_row(const OpContext& context, const Weight& matrix, size_t row, float* out) {
  const void* data = matrix.row_slice(row, 1).data;
  switch (matrix.dtype) {
    case DType::kF32:
      std::memcpy(out, data, matrix.cols * sizeof(float));
      return;
    case DType::kF16:
      context.vector().f16_to_f32(static_cast<const uint16_t*>(data), matrix.cols, out);
      return;
    default:
      context.vector().bf16_to_f32(static_cast<const uint16_t*>(data), matrix.cols, out);
  }
}

}  // namespace

ForwardPass::ForwardPass(const ModelConfig& config,
                         const ModelWeights& weights,
                         const EngineOptions& options,
                         const OpContext& context,
                         const PagePool* pool)
    : config_(config),
      weights_(weights),
      options_(options),
      context_(context),
      bf16_(rounds_to_bf16(weights.layers.front(), options)),
      attention_(config, options, context, pool, bf16_) {
  const MoeConfig& moe = config.moe;
  router_.n_experts = as_size(moe.n_experts);
  router_.n_chosen = as_size(moe.n_experts_per_token);
  router_.n_groups = as_size(moe.n_groups);
  router_.n_chosen_groups = as_size(moe.top_k_groups);
  router_.normalise = moe.normalise_weights;
  router_.scaling = static_cast<float>(moe.routed_scaling);
  router_.softmax = moe.softmax_scores;
}

Result<std::unique_ptr<ForwardPass>> ForwardPass::create(const ModelConfig& config,
                                                         const ModelWeights& weights,
                                                         const EngineOptions& options,
                                                         const OpContext& context,
                                                         const PagePool* pool) {
  std::unique_ptr<ForwardPass> pass(new ForwardPass(config, weights, options, context, pool));
  DSA_RETURN_IF_ERROR(pass->allocate());
  return pass;
}

Status ForwardPass::allocate() {
  const size_t rows = as_size(options_.max_batch_tokens);
  const size_t hidden = as_size(config_.hidden_size);
  ScratchPlan plan;
  plan.add(&hidden_, rows * hidden);
  plan_buffer(&plan, &normed_, rows, hidden, bf16_);
  logit_rows_ =
      std::clamp<size_t>(kLogitBytes / (as_size(config_.vocab_size) * sizeof(float)), 1, rows);
  plan.add(&logits_, logit_rows_ * as_size(config_.vocab_size));
  attention_.plan(&plan);
  const MoeConfig& moe = config_.moe;
  mlp_scratch_.plan(
      rows,
      as_size(std::max(config_.intermediate_size, moe.n_shared_experts * moe.intermediate_size)),
      bf16_, &plan);
  if (moe.n_experts > 0) {
    moe_scratch_.plan(router_, hidden, as_size(moe.intermediate_size), rows, bf16_, &plan);
  }
  DSA_ASSIGN_OR_RETURN(scratch_, plan.allocate("scratch of the forward pass"));
  return {};
}

void ForwardPass::run(std::span<const ForwardStep> steps, const ForwardHooks& hooks) {
  attention_.begin(steps);
  embed(steps);
  for (size_t layer = 0; layer < weights_.layers.size(); ++layer) {
    attention_.run(steps, weights_.layers[layer], layer, hooks, hidden_, normed_);
    if (hooks.between) hooks.between();
    feed_forward(weights_.layers[layer]);
    if (hooks.between) hooks.between();
  }
  emit_logits(steps, hooks);
}

void ForwardPass::embed(std::span<const ForwardStep> steps) {
  const size_t hidden = as_size(config_.hidden_size);
  float* row = hidden_;
  for (const ForwardStep& step : steps) {
    for (const int32_t token : step.tokens) {
      load_row(context_, weights_.embedding, static_cast<size_t>(token), row);
      row += hidden;
    }
  }
}

void ForwardPass::feed_forward(const LayerWeights& layer) {
  const size_t hidden = as_size(config_.hidden_size);
  const size_t n_rows = attention_.n_rows();
  normalise_rows(context_, hidden_, n_rows, layer.post_attention_norm,
                 static_cast<float>(config_.rms_norm_eps), normed_);
  const Activation x = activation(normed_);
  if (layer.mlp.gate.data != nullptr) {
    mlp(context_, layer.mlp, x, n_rows, mlp_scratch_, hidden_, hidden);
  }
  if (!layer.is_moe) return;
  MoeWeights moe = {layer.router, router_, layer.experts};
  moe.config.bias = layer.router_bias.empty() ? nullptr : layer.router_bias.data();
  mixture_of_experts(context_, moe, x, n_rows, moe_scratch_, hidden_, hidden);
}

void ForwardPass::emit_logits(std::span<const ForwardStep> steps, const ForwardHooks& hooks) {
  if (!hooks.logits) return;
  struct Wanted {
    size_t row;
    size_t step;
    int64_t position;
  };
  std::vector<Wanted> wanted;
  size_t first_row = 0;
  for (size_t s = 0; s < steps.size(); ++s) {
    const size_t n = steps[s].tokens.size();
    const size_t skip = steps[s].logits == LogitsWanted::kAll    ? 0
                        : steps[s].logits == LogitsWanted::kLast ? n - 1
                                                                 : n;
    for (size_t i = skip; i < n; ++i) {
      wanted.push_back({first_row + i, s, steps[s].first_position + static_cast<int64_t>(i)});
    }
    first_row += n;
  }
  const size_t vocab = as_size(config_.vocab_size);
  for (size_t begin = 0; begin < wanted.size(); begin += logit_rows_) {
    const size_t count = std::min(logit_rows_, wanted.size() - begin);
    for_each_row(context_, count, [&](size_t i) {
      context_.vector().rms_norm(hidden_ + wanted[begin + i].row * normed_.ld,
                                 weights_.final_norm.data(), normed_.ld,
                                 static_cast<float>(config_.rms_norm_eps), normed_.row(i));
    });
    linear(context_, {normed_.f32, nullptr, normed_.ld}, count, weights_.lm_head, logits_, vocab);
    for (size_t i = 0; i < count; ++i) {
      const Wanted& row = wanted[begin + i];
      hooks.logits({row.step, row.position, {logits_ + i * vocab, vocab}});
    }
  }
}

}  // namespace dsa
