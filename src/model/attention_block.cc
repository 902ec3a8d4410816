#include "model/attention_block.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cache/sequence.h"
#include "model/rope_table.h"
#include "ops/cache_view.h"
#include "ops/indexer_prune.h"

namespace dsa {

namespace {

size_t as_size(int64_t value) {
  return static_cast<size_t>(value);
}

Activation activation(const RowBuffer& buffer) {
  return {buffer.f32, buffer.bf16, buffer.ld};
}

void rotate(const OpContext& context,
            RopeLayout layout,
            float* x,
            const float* cos,
            const float* sin,
            size_t n) {
  if (layout == RopeLayout::kInterleaved) {
    context.vector().rope_interleaved(x, cos, sin, n);
  } else {
    context.vector().rope_half_split(x, cos, sin, n);
  }
}

// Every query of the step sees at most the budget: nothing is left out.
bool all_selected(const EngineOptions& options, const ForwardStep& step) {
  const int64_t length = step.first_position + static_cast<int64_t>(step.tokens.size());
  switch (options.attention) {
    case AttentionMode::kDense:
      return true;
    case AttentionMode::kWindow:
      return length <= options.window;
    case AttentionMode::kDsa:
      return length <= options.top_k;
  }
  return true;
}

bool wants_scores(const ForwardStep& step, const ForwardHooks& hooks) {
  return step.selections && hooks.selection_scores && hooks.selection != nullptr;
}

}  // namespace

bool rounds_to_bf16(const LayerWeights& layer, const EngineOptions& options) {
  if (options.kv_cache == CacheFormat::kF32 && options.index_cache == CacheFormat::kF32) {
    return false;
  }
  const DType dtype = layer.kv_b.dtype;
  return dtype == DType::kBF16 || dtype == DType::kE4M3;
}

AttentionBlock::AttentionBlock(const ModelConfig& config,
                               const EngineOptions& options,
                               const OpContext& context,
                               const PagePool* pool,
                               bool bf16)
    : config_(config),
      options_(options),
      context_(context),
      pool_(pool),
      bf16_(bf16),
      frequencies_(
          rope_frequencies(config.rope, as_size(config.qk_rope_head_dim), config.yarn_active())) {
  mla_ = {as_size(config.n_heads),          as_size(config.kv_lora_rank),
          as_size(config.qk_rope_head_dim), as_size(config.qk_nope_head_dim),
          as_size(config.v_head_dim),       static_cast<float>(config.softmax_scale())};
  indexer_ = {as_size(config.indexer.n_heads), as_size(config.indexer.head_dim),
              pool->index_layout()};
  rule_ = {as_size(options.top_k), as_size(options.keep_first), as_size(options.keep_recent)};
}

void AttentionBlock::plan(ScratchPlan* plan) {
  const size_t rows = as_size(options_.max_batch_tokens);
  const size_t max_context = as_size(pool_->n_pages()) * kPageTokens;
  const bool window = options_.attention == AttentionMode::kWindow;
  const size_t budget = std::min(as_size(window ? options_.window : options_.top_k), max_context);
  plan_buffer(plan, &q_latent_, rows, as_size(config_.q_lora_rank), bf16_);
  plan_buffer(plan, &q_, rows, mla_.n_heads * mla_.d_q(), bf16_);
  plan->add(&kv_, rows * mla_.d_row());
  plan_buffer(plan, &attention_, rows, mla_.n_heads * mla_.d_v, bf16_);
  plan->add(&index_q_, rows * indexer_.n_heads * indexer_.dim);
  plan->add(&index_key_, rows * indexer_.dim);
  plan->add(&index_gate_, rows * indexer_.n_heads);
  plan->add(&cos_, rows * mla_.d_rope / 2);
  plan->add(&sin_, rows * mla_.d_rope / 2);
  plan->add(&row_slot_, rows);
  lists_.stride = budget;
  plan->add(&lists_.positions, rows * budget);
  plan->add(&lists_.counts, rows);
  plan->add(&list_scores_, rows * budget);
  if (options_.attention == AttentionMode::kDsa) {
    indexer_scratch_.plan(context_, indexer_, rows, max_context, budget, plan);
  }
  mla_scratch_.plan(context_, mla_, pool_->latent_layout(), bf16_, rows, max_context, budget, plan);
  plan->add(&all_positions_, max_context);
}

bool AttentionBlock::scores_in_int8_first(int64_t first_position) const {
  return pruning_pays(indexer_scratch_, rule_, as_size(first_position + 1));
}

void AttentionBlock::begin(std::span<const ForwardStep> steps) {
  n_rows_ = 0;
  const size_t half = mla_.d_rope / 2;
  for (const ForwardStep& step : steps) {
    for (size_t i = 0; i < step.tokens.size(); ++i, ++n_rows_) {
      const int64_t position = step.first_position + static_cast<int64_t>(i);
      row_slot_[n_rows_] = cache_row(step.pages, position);
      rope_angles(frequencies_, as_size(position), cos_ + n_rows_ * half, sin_ + n_rows_ * half);
    }
  }
}

bool AttentionBlock::needs_queries(std::span<const ForwardStep> steps,
                                   const ForwardHooks& hooks) const {
  return std::any_of(steps.begin(), steps.end(), [this, &hooks](const ForwardStep& step) {
    return wants_scores(step, hooks) || !all_selected(options_, step);
  });
}

void AttentionBlock::run(std::span<const ForwardStep> steps,
                         const LayerWeights& layer,
                         size_t index,
                         const ForwardHooks& hooks,
                         float* hidden,
                         const RowBuffer& normed) {
  const bool indexed = options_.attention == AttentionMode::kDsa &&
                       config_.indexer.layers[index] == IndexerKind::kFull;
  const bool selects = indexed && needs_queries(steps, hooks);
  context_.enter(Part::kProjections);
  normalise_rows(context_, hidden, n_rows_, layer.input_norm,
                 static_cast<float>(config_.rms_norm_eps), normed);
  project_down(layer, indexed, selects, normed);
  finish_latents(layer, index, indexed);
  project_up(layer, selects);
  rotate_queries(selects);
  size_t first_row = 0;
  for (size_t s = 0; s < steps.size(); ++s) {
    const ForwardStep& step = steps[s];
    const bool scored = indexed && wants_scores(step, hooks);
    context_.enter(Part::kIndexer);
    const SelectionLists lists = select(step, first_row, index, indexed, hooks);
    context_.enter(Part::kAttention);
    attend(step, first_row, layer, index, lists);
    if (hooks.selection && step.selections) {
      report_selection(step, s, index, first_row, lists, scored, hooks);
    }
    first_row += step.tokens.size();
  }
  context_.enter(Part::kOutput);
  for_each_row(context_, n_rows_,
               [&](size_t i) { attention_.round_row(context_.vector(), i, 0, attention_.ld); });
  MatmulJob output = matmul_nt(context_, activation(attention_), n_rows_, layer.o, hidden,
                               as_size(config_.hidden_size));
  output.args.accumulate = true;
  run_matmuls(context_, {&output, 1});
  context_.enter(Part::kOther);
}

void AttentionBlock::project_down(const LayerWeights& layer,
                                  bool indexed,
                                  bool selects,
                                  const RowBuffer& normed) {
  const Activation x = activation(normed);
  std::vector<MatmulJob> jobs;
  jobs.push_back(matmul_nt(context_, x, n_rows_, layer.q_a, q_latent_.f32, q_latent_.ld));
  jobs.push_back(matmul_nt(context_, x, n_rows_, layer.kv_a, kv_, mla_.d_row()));
  if (indexed) {
    jobs.push_back(matmul_nt(context_, x, n_rows_, layer.indexer.wk, index_key_, indexer_.dim));
  }
  if (selects) {
    // The gates decide the order of near ties: always f32.
    jobs.push_back(matmul_nt(context_, {x.f32, nullptr, x.ld}, n_rows_, layer.indexer.weights_proj,
                             index_gate_, indexer_.n_heads));
  }
  run_matmuls(context_, jobs);
}

void AttentionBlock::finish_latents(const LayerWeights& layer, size_t index, bool indexed) {
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  const kernels::VectorKernels& vector = context_.vector();
  const LatentLayout& layout = pool_->latent_layout();
  uint8_t* base = pool_->latent(static_cast<int64_t>(index));
  const size_t half = mla_.d_rope / 2;
  for_each_row(context_, n_rows_, [&](size_t i) {
    vector.rms_norm(q_latent_.row(i), layer.q_a_norm.data(), q_latent_.ld, eps, q_latent_.row(i));
    q_latent_.round_row(vector, i, 0, q_latent_.ld);
    float* latent = kv_ + i * mla_.d_row();
    float* rope = latent + mla_.d_latent;
    vector.rms_norm(latent, layer.kv_a_norm.data(), mla_.d_latent, eps, latent);
    rotate(context_, config_.rope_layout, rope, cos_ + i * half, sin_ + i * half, mla_.d_rope);
    uint8_t* row = base + static_cast<size_t>(row_slot_[i]) * layout.row_bytes();
    store_latent_row(vector, layout, latent, rope, row);
    load_latent(vector, layout, row, latent);
    if (indexed) finish_index_key(layer, index, i);
  });
}

// LayerNorm, RoPE on the first d_rope elements, Hadamard; then into the cache.
void AttentionBlock::finish_index_key(const LayerWeights& layer, size_t index, size_t i) {
  const kernels::VectorKernels& vector = context_.vector();
  const IndexerConfig& config = config_.indexer;
  const size_t half = mla_.d_rope / 2;
  float* key = index_key_ + i * indexer_.dim;
  vector.layer_norm(key, layer.indexer.k_norm_weight.data(), layer.indexer.k_norm_bias.data(),
                    indexer_.dim, static_cast<float>(config.norm_eps), key);
  rotate(context_, config.rope_layout, key, cos_ + i * half, sin_ + i * half, mla_.d_rope);
  if (config.hadamard) vector.hadamard(key, indexer_.dim);
  const size_t slot = static_cast<size_t>(row_slot_[i]);
  const IndexKeyLayout& layout = pool_->index_layout();
  uint8_t* page =
      pool_->index(static_cast<int64_t>(index)) + slot / kPageTokens * layout.page_bytes();
  store_index_key(vector, layout, key, slot % kPageTokens, page);
}

void AttentionBlock::project_up(const LayerWeights& layer, bool selects) {
  const Activation latent = activation(q_latent_);
  std::vector<MatmulJob> jobs;
  jobs.push_back(matmul_nt(context_, latent, n_rows_, layer.q_b, q_.f32, q_.ld));
  if (selects) {
    jobs.push_back(matmul_nt(context_, latent, n_rows_, layer.indexer.wq_b, index_q_,
                             indexer_.n_heads * indexer_.dim));
  }
  run_matmuls(context_, jobs);
}

void AttentionBlock::rotate_queries(bool selects) {
  const size_t half = mla_.d_rope / 2;
  const size_t dim = indexer_.dim;
  const float gate_factor = 1.0F / std::sqrt(static_cast<float>(indexer_.n_heads * dim));
  for_each_row(context_, n_rows_, [&](size_t i) {
    const float* cos = cos_ + i * half;
    const float* sin = sin_ + i * half;
    for (size_t h = 0; h < mla_.n_heads; ++h) {
      float* rope = q_.row(i) + h * mla_.d_q() + mla_.d_nope;
      rotate(context_, config_.rope_layout, rope, cos, sin, mla_.d_rope);
    }
    q_.round_row(context_.vector(), i, 0, q_.ld);
    if (!selects) return;
    for (size_t h = 0; h < indexer_.n_heads; ++h) {
      float* q = index_q_ + (i * indexer_.n_heads + h) * dim;
      rotate(context_, config_.indexer.rope_layout, q, cos, sin, mla_.d_rope);
      if (config_.indexer.hadamard) context_.vector().hadamard(q, dim);
      index_gate_[i * indexer_.n_heads + h] *= gate_factor;
    }
  });
}

// The lists that the step's queries attend to; positions is null when nothing is left out. A layer
// that shares an earlier selection finds it in lists_, which only layers that index overwrite.
SelectionLists AttentionBlock::select(const ForwardStep& step,
                                      size_t first_row,
                                      size_t layer,
                                      bool indexed,
                                      const ForwardHooks& hooks) {
  SelectionLists lists = {lists_.positions + first_row * lists_.stride, lists_.counts + first_row,
                          lists_.stride};
  const bool everything = all_selected(options_, step);
  const bool scored = wants_scores(step, hooks);
  if (options_.attention == AttentionMode::kWindow && !everything) {
    select_window(step, lists);
  } else if (indexed && (!everything || scored)) {
    const IndexerQueries queries = {index_q_ + first_row * indexer_.n_heads * indexer_.dim,
                                    index_gate_ + first_row * indexer_.n_heads, step.tokens.size(),
                                    as_size(step.first_position)};
    const IndexCacheView cache = {indexer_.layout, pool_->index(static_cast<int64_t>(layer)),
                                  step.pages};
    index_and_select(context_, indexer_, queries, cache, rule_, &indexer_scratch_, lists,
                     scored ? list_scores_ + first_row * lists_.stride : nullptr);
  }
  if (everything) lists.positions = nullptr;
  return lists;
}

void AttentionBlock::select_window(const ForwardStep& step, const SelectionLists& lists) {
  for (size_t i = 0; i < step.tokens.size(); ++i) {
    const int64_t visible = step.first_position + static_cast<int64_t>(i) + 1;
    const int64_t count = std::min(visible, options_.window);
    int32_t* row = lists.positions + i * lists.stride;
    std::iota(row, row + count, static_cast<int32_t>(visible - count));
    lists.counts[i] = static_cast<int32_t>(count);
  }
}

void AttentionBlock::attend(const ForwardStep& step,
                            size_t first_row,
                            const LayerWeights& layer,
                            size_t layer_index,
                            const SelectionLists& lists) {
  const size_t n_queries = step.tokens.size();
  const MlaQueries queries = {activation(q_).from_row(first_row), n_queries,
                              as_size(step.first_position),
                              n_queries > 1 ? kv_ + first_row * mla_.d_row() : nullptr};
  const LatentCacheView cache = {pool_->latent_layout(),
                                 pool_->latent(static_cast<int64_t>(layer_index)), step.pages};
  mla_attention(context_, mla_, queries, layer.kv_b, cache, lists, &mla_scratch_,
                attention_.row(first_row));
}

void AttentionBlock::report_selection(const ForwardStep& step,
                                      size_t step_index,
                                      size_t layer,
                                      size_t first_row,
                                      const SelectionLists& lists,
                                      bool scored,
                                      const ForwardHooks& hooks) {
  if (lists.positions == nullptr) {
    const int64_t n = step.first_position + static_cast<int64_t>(step.tokens.size());
    std::iota(all_positions_, all_positions_ + n, 0);
  }
  for (size_t i = 0; i < step.tokens.size(); ++i) {
    Selection selection;
    selection.step = step_index;
    selection.layer = static_cast<int64_t>(layer);
    selection.position = step.first_position + static_cast<int64_t>(i);
    if (lists.positions == nullptr) {
      selection.positions = {all_positions_, as_size(selection.position + 1)};
    } else {
      selection.positions = {lists.positions + i * lists.stride, as_size(lists.counts[i])};
    }
    if (scored) {
      selection.scores = {list_scores_ + (first_row + i) * lists_.stride,
                          selection.positions.size()};
    }
    hooks.selection(selection);
  }
}

}  // namespace dsa
