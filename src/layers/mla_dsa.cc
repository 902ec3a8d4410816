#include "layers/mla_dsa.h"

#include <algorithm>
#include <cmath>

#include "cache/sequence.h"
#include "common/sizes.h"
#include "layers/pool_options.h"
#include "layers/rope.h"
#include "ops/cache_view.h"
#include "ops/indexer_prune.h"

namespace dsa {

MlaDsaBlock::MlaDsaBlock(const ModelConfig& config,
                         const PassOptions& options,
                         const OpContext& context,
                         const PagePool* pool,
                         Twins twins)
    : config_(config),
      options_(options),
      context_(context),
      max_context_(as_size(pool->n_tokens())),
      twins_(twins),
      rope_(rope_table(config.rope, as_size(config.qk_rope_head_dim))) {
  mla_ = {as_size(config.n_heads),          as_size(config.kv_lora_rank),
          as_size(config.qk_rope_head_dim), as_size(config.qk_nope_head_dim),
          as_size(config.v_head_dim),       static_cast<float>(config.softmax_scale())};
  indexer_ = {as_size(config.indexer.n_heads), as_size(config.indexer.head_dim),
              index_layout(config, options)};
  latent_layout_ = latent_layout(config, options);
  for (int64_t layer = 0; layer < config.n_layers; ++layer)
    planes_.push_back({pool->plane(layer, kLatentPlane), pool->plane(layer, kIndexPlane)});
  rule_ = {as_size(options.attention.top_k), as_size(options.attention.keep_first),
           as_size(options.attention.keep_recent)};
}

void MlaDsaBlock::plan(ScratchPlan* plan) {
  const size_t rows = as_size(options_.max_batch_tokens);
  const size_t budget = Selection(options_, max_context_).budget();
  plan_buffer(plan, &q_latent_, rows, as_size(config_.q_lora_rank), twins_);
  plan_buffer(plan, &q_, rows, mla_.n_heads * mla_.d_q(), twins_);
  plan->add(&kv_, rows * mla_.d_row());
  plan_buffer(plan, &attention_, rows, mla_.n_heads * mla_.d_v, twins_);
  plan->add(&index_q_, rows * indexer_.n_heads * indexer_.dim);
  plan->add(&index_key_, rows * indexer_.dim);
  plan->add(&index_gate_, rows * indexer_.n_heads);
  plan->add(&cos_, rows * mla_.d_rope / 2);
  plan->add(&sin_, rows * mla_.d_rope / 2);
  plan->add(&row_slot_, rows);
  if (options_.attention.mode == AttentionMode::kDsa) {
    indexer_scratch_.plan(context_, indexer_, rows, max_context_, budget, plan);
  }
  mla_scratch_.plan(context_, mla_, latent_layout_, twins_, {rows, max_context_, budget}, plan);
}

bool MlaDsaBlock::scores_in_int8_first(int64_t first_position) const {
  return pruning_pays(indexer_scratch_, rule_, as_size(first_position + 1));
}

void MlaDsaBlock::begin(std::span<const PlacedStep> steps) {
  steps_ = steps;
  n_rows_ = 0;
  const size_t half = mla_.d_rope / 2;
  for (const PlacedStep& step : steps) {
    for (size_t i = 0; i < step.tokens.size(); ++i, ++n_rows_) {
      const int64_t position = step.first_position + static_cast<int64_t>(i);
      row_slot_[n_rows_] = cache_row(indexer_.layout.page, step.pages, position);
      rope_angles(rope_, as_size(position), cos_ + n_rows_ * half, sin_ + n_rows_ * half);
    }
  }
}

Twins MlaDsaBlock::input_twins(const LayerWeights& weights) const {
  return read_by(context_, {&weights.q_a, &weights.kv_a, &weights.indexer.wk});
}

void MlaDsaBlock::run(size_t index,
                      const LayerWeights& weights,
                      const Activation& x,
                      Selection* selection,
                      const BlockOutput& y) {
  const bool indexed = options_.attention.mode == AttentionMode::kDsa &&
                       config_.indexer.layers[index] == IndexerKind::kFull;
  const Layer layer = {index, weights, indexed, indexed && selection->needs_indexer()};
  context_.enter(Part::kProjections);
  project_down(layer, x);
  finish_latents(layer);
  project_up(layer);
  rotate_queries(layer);
  if (layer.selects) selection->set_made_by(index);
  size_t first_row = 0;
  for (size_t s = 0; s < steps_.size(); ++s) {
    context_.enter(Part::kIndexer);
    if (indexed && selection->needs_indexer(s)) select(layer, s, first_row, selection);
    context_.enter(Part::kAttention);
    attend(layer, steps_[s], first_row, selection->attended(s));
    first_row += steps_[s].tokens.size();
  }
  project_output(layer, y);
}

void MlaDsaBlock::project_down(const Layer& layer, const Activation& x) {
  const LayerWeights& w = layer.weights;
  std::vector<MatmulJob> jobs;
  jobs.push_back(matmul_nt(context_, x, n_rows_, w.q_a, q_latent_.f32, q_latent_.ld));
  jobs.push_back(matmul_nt(context_, x, n_rows_, w.kv_a, kv_, mla_.d_row()));
  if (layer.indexed) {
    jobs.push_back(matmul_nt(context_, x, n_rows_, w.indexer.wk, index_key_, indexer_.dim));
  }
  if (layer.selects) {
    // The gates decide the order of near ties: always f32.
    jobs.push_back(matmul_nt(context_, x.without_twins(), n_rows_, w.indexer.weights_proj,
                             index_gate_, indexer_.n_heads));
  }
  run_matmuls(context_, jobs);
}

void MlaDsaBlock::finish_latents(const Layer& layer) {
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  const kernels::VectorKernels& vector = context_.vector();
  const size_t row_bytes = latent_layout_.row_bytes();
  uint8_t* const base = planes_[layer.index].latents.base;
  const size_t half = mla_.d_rope / 2;
  const Twins twins = query_latent_twins(layer);
  for_each_row(context_, n_rows_, [&](size_t i) {
    vector.rms_norm(q_latent_.row(i), layer.weights.q_a_norm.data(), q_latent_.ld, eps,
                    q_latent_.row(i));
    q_latent_.prepare(vector, twins, i, 0, q_latent_.ld);
    float* latent = kv_ + i * mla_.d_row();
    float* rope = latent + mla_.d_latent;
    vector.rms_norm(latent, layer.weights.kv_a_norm.data(), mla_.d_latent, eps, latent);
    apply_rope(vector, config_.rope_layout, cos_ + i * half, sin_ + i * half, mla_.d_rope, rope);
    uint8_t* row = base + static_cast<size_t>(row_slot_[i]) * row_bytes;
    store_latent_row(vector, latent_layout_, latent, rope, row);
    load_latent(vector, latent_layout_, row, latent);
    if (layer.indexed) finish_index_key(layer, i);
  });
}

// LayerNorm, RoPE on the first d_rope elements, Hadamard; then into the cache.
void MlaDsaBlock::finish_index_key(const Layer& layer, size_t i) {
  const kernels::VectorKernels& vector = context_.vector();
  const IndexerConfig& config = config_.indexer;
  const size_t half = mla_.d_rope / 2;
  float* key = index_key_ + i * indexer_.dim;
  const IndexerWeights& weights = layer.weights.indexer;
  vector.layer_norm(key, weights.k_norm_weight.data(), weights.k_norm_bias.data(), indexer_.dim,
                    static_cast<float>(config.norm_eps), key);
  apply_rope(vector, config.rope_layout, cos_ + i * half, sin_ + i * half, mla_.d_rope, key);
  if (config.hadamard) vector.hadamard(key, indexer_.dim);
  const auto row = static_cast<size_t>(row_slot_[i]);
  const IndexKeyLayout& layout = indexer_.layout;
  const auto page = static_cast<int32_t>(layout.page.page(row));
  store_index_key(vector, layout, key, layout.page.slot(row), planes_[layer.index].keys.page(page));
}

Twins MlaDsaBlock::query_latent_twins(const Layer& layer) const {
  return read_by(context_, {&layer.weights.q_b, &layer.weights.indexer.wq_b});
}

void MlaDsaBlock::project_up(const Layer& layer) {
  const Activation latent = q_latent_.activation(query_latent_twins(layer));
  std::vector<MatmulJob> jobs;
  jobs.push_back(matmul_nt(context_, latent, n_rows_, layer.weights.q_b, q_.f32, q_.ld));
  if (layer.selects) {
    jobs.push_back(matmul_nt(context_, latent, n_rows_, layer.weights.indexer.wq_b, index_q_,
                             indexer_.n_heads * indexer_.dim));
  }
  run_matmuls(context_, jobs);
}

void MlaDsaBlock::rotate_queries(const Layer& layer) {
  const size_t half = mla_.d_rope / 2;
  const size_t dim = indexer_.dim;
  const Twins twins = query_twins(context_, layer.weights.kv_up);
  const float gate_factor = 1.0F / std::sqrt(static_cast<float>(indexer_.n_heads * dim));
  for_each_row(context_, n_rows_, [&](size_t i) {
    const float* cos = cos_ + i * half;
    const float* sin = sin_ + i * half;
    for (size_t h = 0; h < mla_.n_heads; ++h) {
      float* rope = q_.row(i) + h * mla_.d_q() + mla_.d_nope;
      apply_rope(context_.vector(), config_.rope_layout, cos, sin, mla_.d_rope, rope);
    }
    q_.prepare(context_.vector(), twins, i, 0, q_.ld);
    if (!layer.selects) return;
    for (size_t h = 0; h < indexer_.n_heads; ++h) {
      float* q = index_q_ + (i * indexer_.n_heads + h) * dim;
      apply_rope(context_.vector(), config_.indexer.rope_layout, cos, sin, mla_.d_rope, q);
      if (config_.indexer.hadamard) context_.vector().hadamard(q, dim);
      index_gate_[i * indexer_.n_heads + h] *= gate_factor;
    }
  });
}

void MlaDsaBlock::select(const Layer& layer, size_t s, size_t first_row, Selection* selection) {
  const PlacedStep& step = steps_[s];
  const IndexerQueries queries = {index_q_ + first_row * indexer_.n_heads * indexer_.dim,
                                  index_gate_ + first_row * indexer_.n_heads, step.tokens.size(),
                                  as_size(step.first_position)};
  const IndexCacheView cache = {indexer_.layout, planes_[layer.index].keys.base, step.pages};
  index_and_select(context_, indexer_, queries, cache, rule_, &indexer_scratch_,
                   selection->lists(s), selection->scores(s));
}

void MlaDsaBlock::attend(const Layer& layer,
                         const PlacedStep& step,
                         size_t first_row,
                         const SelectionLists& lists) {
  const size_t n_queries = step.tokens.size();
  const Activation q = q_.activation(query_twins(context_, layer.weights.kv_up));
  const MlaQueries queries = {q.from_row(first_row), n_queries, as_size(step.first_position),
                              n_queries > 1 ? kv_ + first_row * mla_.d_row() : nullptr};
  const LatentCacheView cache = {latent_layout_, planes_[layer.index].latents.base, step.pages,
                                 indexer_.layout.page};
  mla_attention(context_, {mla_, queries, layer.weights.kv_up, cache, lists, &mla_scratch_,
                           attention_.row(first_row)});
}

void MlaDsaBlock::project_output(const Layer& layer, const BlockOutput& y) {
  context_.enter(Part::kOutput);
  const Weight& w_o = layer.weights.o;
  const Twins twins = read_by(context_, {&w_o});
  for_each_row(context_, n_rows_, [&](size_t i) {
    attention_.prepare(context_.vector(), twins, i, 0, attention_.ld);
  });
  MatmulJob output = matmul_nt(context_, attention_.activation(twins), n_rows_, w_o, y.data, y.ld);
  output.args.accumulate = y.accumulate;
  run_matmuls(context_, {&output, 1});
  context_.enter(Part::kOther);
}

}  // namespace dsa
