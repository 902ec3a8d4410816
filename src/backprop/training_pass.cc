// Forward and backward through the layers.
#include <algorithm>
#include <cstring>

#include "backprop/attention_layer.h"
#include "backprop/dense_attention.h"
#include "backprop/feed_forward.h"
#include "backprop/norms.h"
#include "backprop/sparse_attention.h"
#include "backprop/train_indexer.h"
#include "backprop/train_model_impl.h"
#include "formats/dtype.h"
#include "layers/rope.h"

namespace dsa::backprop {

namespace {

void load_row(const TrainContext& context, const Parameter& matrix, size_t row, float* out) {
  const auto cols = static_cast<size_t>(matrix.shape[1]);
  const auto type = static_cast<size_t>(matrix.dtype);
  context.kernels->matmul->dequantize_row[type]({matrix.data, cols * dtype_bytes(matrix.dtype)},
                                                row, 0, cols, out);
}

}  // namespace

void TrainModel::Impl::begin(const LayerWork& work, std::span<const int32_t> tokens) const {
  const size_t half = dims.d_rope / 2;
  std::vector<size_t> first(tokens.size());
  for (const DocumentSpan& document : work.batch.documents) {
    std::fill(first.begin() + document.begin, first.begin() + document.end,
              static_cast<size_t>(document.begin));
  }
  for_rows(context, tokens.size(), [&](size_t t) {
    float* sin = work.shared.sin + t * half;
    rope_angles(rope, t - first[t], work.shared.cos + t * half, sin);
    std::transform(sin, sin + half, work.shared.minus_sin + t * half, [](float x) { return -x; });
    load_row(context, *parameters->embedding, static_cast<size_t>(tokens[t]),
             work.shared.hidden + t * dims.hidden);
  });
}

void TrainModel::Impl::enter_layer(const LayerWork& work, const LayerState& layer) const {
  std::memcpy(layer.input, work.shared.hidden, work.n_tokens() * dims.hidden * sizeof(float));
}

void TrainModel::Impl::attend(const LayerWork& work,
                              size_t index,
                              float index_factor,
                              TrainLosses* losses) {
  const LayerParameters& layer = parameters->layers[index];
  const LayerState& at = state.layers[index];
  const bool warmup = options.stage == TrainStage::kWarmup;
  const bool sparse = options.stage == TrainStage::kSparse;
  const bool learns = indexed(index) && options.stage != TrainStage::kPretrain;
  if (learns) {
    project_index(work, layer.indexer, at);
    begin_index_gradients(work);
  }
  double kl = 0;
  if (sparse) {
    if (indexed(index)) select_rows(work, {dims.top_k, 0, 0}, at.selected);
    absorb_queries(work, layer, at);
    const size_t offset = sparse_attention_bytes(dims, at.selected.stride);
    sparse_attention(
        work, at,
        !learns ? SelectedTarget()
                : [&](size_t part, int worker, size_t query, const float* target, size_t) {
                    work.shared.row_loss[query] = selected_index_kl(
                        work, at.selected, part, worker, offset, query, target, index_factor);
                  });
    expand_outputs(work, layer, at);
    for (size_t t = 0; learns && t < work.n_tokens(); ++t)
      kl += work.shared.row_loss[t];
  } else {
    expand_rows(work, layer, at);
    dense_attention(work, at);
    if (warmup && learns) kl = dense_index_kl(work, at, index_factor);
  }
  if (!learns) return;
  index_backward(work, layer.indexer, at);
  losses->index_kl_sum[index] = kl;
  ++losses->n_indexers;
}

void TrainModel::Impl::forward(const LayerWork& work, float index_factor, TrainLosses* losses) {
  for (size_t i = 0; i < dims.n_layers; ++i) {
    const LayerParameters& layer = parameters->layers[i];
    const LayerState& at = state.layers[i];
    enter_layer(work, at);
    project_attention(work, layer, at);
    attend(work, i, index_factor, losses);
    if (options.stage == TrainStage::kWarmup && i + 1 == dims.n_layers) return;  // nothing follows
    project_output(work, layer, at);
    feed_forward(work, layer, at, expert_counts[i].data());
  }
}

// Computes again what the layer did not keep.
void TrainModel::Impl::restore(const LayerWork& work, size_t index) {
  const LayerParameters& layer = parameters->layers[index];
  const LayerState& at = state.layers[index];
  project_attention(work, layer, at);
  if (options.stage == TrainStage::kSparse) {
    absorb_queries(work, layer, at);
  } else {
    expand_rows(work, layer, at);
  }
  feed_forward_inner(work, layer, at, nullptr);
}

void TrainModel::Impl::backward(const LayerWork& work, std::span<const int32_t> tokens) {
  for (size_t i = dims.n_layers; i-- > 0;) {
    if (options.recompute && i + 1 < dims.n_layers) restore(work, i);
    feed_forward_backward(work, parameters->layers[i], state.layers[i]);
    attention_backward(work, parameters->layers[i], state.layers[i],
                       options.stage == TrainStage::kSparse);
  }
  embedding_backward(work, tokens);
}

void TrainModel::Impl::embedding_backward(const LayerWork& work,
                                          std::span<const int32_t> tokens) const {
  float* gradient = parameters->embedding->gradient;
  for (size_t t = 0; t < tokens.size(); ++t) {
    context.vector().add_scaled(work.shared.d_hidden + t * dims.hidden, 1.0F, dims.hidden,
                                gradient + static_cast<size_t>(tokens[t]) * dims.hidden);
  }
}

TrainLosses TrainModel::Impl::forward_backward(const TrainBatch& batch) {
  const BatchLayout layout = layout_of(batch);
  const LayerWork work = {context, config, dims, layout, state.shared};
  TrainLosses losses;
  losses.n_queries = static_cast<int64_t>(layout.n_tokens);
  losses.has_lm = options.stage != TrainStage::kWarmup;
  if (options.stage != TrainStage::kPretrain) losses.index_kl_sum.assign(dims.n_layers, 0.0);
  const double index_factor =
      batch.index_scale > 0 ? batch.index_scale : 1.0 / static_cast<double>(losses.n_queries);
  begin(work, batch.tokens);
  forward(work, static_cast<float>(index_factor), &losses);
  if (!losses.has_lm) return losses;
  const std::vector<int32_t> targets = targets_of(batch);
  losses.n_targets =
      std::count_if(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; });
  const double lm_factor = batch.lm_scale > 0
                               ? batch.lm_scale
                               : 1.0 / static_cast<double>(std::max<int64_t>(losses.n_targets, 1));
  losses.lm_sum = cross_entropy(work, head(), targets, static_cast<float>(lm_factor));
  backward(work, batch.tokens);
  return losses;
}

}  // namespace dsa::backprop
