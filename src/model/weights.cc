#include "model/weights.h"

#include <algorithm>
#include <utility>

#include "common/math.h"
#include "common/status_macros.h"
#include "formats/cache_layout.h"
#include "formats/dequantize.h"
#include "model/block_scales.h"
#include "model/tensor_slots.h"

namespace dsa {

namespace {

void note_expert_types(LayerWeights* layer) {
  for (const MlpWeights& expert : layer->experts) {
    layer->expert_input_types.add(expert.gate.dtype);
    layer->expert_input_types.add(expert.up.dtype);
    layer->expert_inner_types.add(expert.down.dtype);
  }
}

class Loader {
 public:
  Loader(const ModelConfig& config,
         const TensorSource& source,
         size_t max_problems,
         LoadedWeights* loaded)
      : config_(config), source_(source), max_problems_(max_problems), loaded_(loaded) {}

  void load() {
    ModelWeights& weights = loaded_->weights;
    weights.layers.resize(static_cast<size_t>(config_.n_layers));
    for_each_tensor(config_, [&](const ModelTensor& tensor) {
      const auto put = [&](auto& slot) { load_tensor(tensor, &slot); };
      if (tensor.layer < 0) {
        at_model_slot(weights, tensor.row->role, put);
      } else {
        at_layer_slot(weights.layers[static_cast<size_t>(tensor.layer)], tensor, put);
      }
      return !stopped();
    });
    if (config_.tie_word_embeddings) weights.lm_head = weights.embedding;
    for (int64_t i = 0; i < config_.n_layers; ++i) {
      LayerWeights& layer = weights.layers[static_cast<size_t>(i)];
      layer.is_moe = config_.is_moe_layer(i);
      note_expert_types(&layer);
    }
  }

  void load_attention(int64_t index, LayerWeights* layer) {
    for_each_layer_tensor(config_, index, [&](const ModelTensor& tensor) {
      at_attention_slot(*layer, tensor.row->role, [&](auto& slot) { load_tensor(tensor, &slot); });
      return !stopped();
    });
  }

 private:
  bool stopped() const { return loaded_->problems.size() >= max_problems_; }

  void load_tensor(const ModelTensor& tensor, Weight* slot) {
    const StoredTensor* stored = require(tensor);
    if (stored == nullptr) return;
    *slot = Weight::dense(*stored->dtype, stored->data.data(), static_cast<size_t>(tensor.shape[0]),
                          static_cast<size_t>(tensor.shape[1]));
    loaded_->weights.n_parameters += tensor.shape[0] * tensor.shape[1];
    if (weight_format(slot->dtype).scale_grid) add_scale(tensor.name, slot);
  }

  void load_tensor(const ModelTensor& tensor, MlaWeights* slot) {
    Weight both;
    load_tensor(tensor, &both);
    if (both.data == nullptr) return;
    *slot = split_kv_up(both, static_cast<size_t>(config_.qk_nope_head_dim),
                        static_cast<size_t>(config_.v_head_dim));
  }

  void load_tensor(const ModelTensor& tensor, std::vector<float>* slot) {
    const StoredTensor* stored = require(tensor);
    if (stored == nullptr) return;
    loaded_->weights.n_parameters += tensor.shape[0];
    *slot = dequantize(*stored->dtype, stored->data);
  }

  void add_scale(const std::string& name, Weight* weight) {
    if (stopped()) return;
    Result<BlockScales> scales = read_block_scales(
        source_, name, static_cast<int64_t>(weight->rows), static_cast<int64_t>(weight->cols));
    if (!scales.ok()) {
      loaded_->problems.push_back(scales.status());
      return;
    }
    loaded_->used.insert(scales->name);
    loaded_->weights.n_bytes += scales->n_bytes;
    loaded_->weights.scales.push_back(std::move(scales->values));
    weight->scale = loaded_->weights.scales.back().data();
    weight->scale_ld = ceil_div(weight->cols, kWeightBlock);
  }

  const StoredTensor* require(const ModelTensor& tensor) {
    return require(tensor.name, tensor.shape, allowed_types(config_, tensor.row->kind));
  }

  const StoredTensor* require(const std::string& name,
                              std::span<const int64_t> shape,
                              DTypeSet dtypes) {
    if (stopped()) return nullptr;
    loaded_->used.insert(name);
    Result<const StoredTensor*> tensor = source_.require(name, shape, dtypes);
    if (!tensor.ok()) {
      loaded_->problems.push_back(tensor.status());
      return nullptr;
    }
    loaded_->weights.n_bytes += static_cast<int64_t>((*tensor)->data.size());
    return *tensor;
  }

  const ModelConfig& config_;
  const TensorSource& source_;
  size_t max_problems_;
  LoadedWeights* loaded_;
};

}  // namespace

Twins read_by(const OpContext& context, const LayerWeights& layer) {
  Twins twins =
      read_by(context, {&layer.q_a, &layer.q_b, &layer.kv_a, &layer.kv_up.w_uk.stored,
                        &layer.kv_up.w_uv.stored, &layer.o, &layer.indexer.wq_b, &layer.indexer.wk,
                        &layer.mlp.gate, &layer.mlp.up, &layer.mlp.down});
  twins.add(read_by(context, layer.expert_input_types));
  twins.add(read_by(context, layer.expert_inner_types));
  return twins;
}

LoadedWeights load_weights(const ModelConfig& config,
                           const TensorSource& source,
                           size_t max_problems) {
  LoadedWeights loaded;
  Loader(config, source, max_problems, &loaded).load();
  return loaded;
}

LoadedWeights load_attention(const ModelConfig& config, const TensorSource& source, int64_t layer) {
  LoadedWeights loaded;
  Loader(config, source, 1, &loaded).load_attention(layer, &loaded.weights.layers.emplace_back());
  return loaded;
}

}  // namespace dsa
