// Which member of a model holds a tensor of the table. Model is ModelWeights or the trainer's
// ParameterSet, whose members bear the same names.
#pragma once

#include "model/tensor_table.h"

namespace dsa {

// Calls fn(member of `layer`) for a role of the attention half; false: it is of another part.
template <class Layer, class Fn>
bool at_attention_slot(Layer& layer, TensorRole role, const Fn& fn) {
  switch (role) {
    case TensorRole::kInputNorm:
      return fn(layer.input_norm), true;
    case TensorRole::kQueryDown:
      return fn(layer.q_a), true;
    case TensorRole::kQueryDownNorm:
      return fn(layer.q_a_norm), true;
    case TensorRole::kQueryUp:
      return fn(layer.q_b), true;
    case TensorRole::kKvDown:
      return fn(layer.kv_a), true;
    case TensorRole::kKvNorm:
      return fn(layer.kv_a_norm), true;
    case TensorRole::kKvUp:
      return fn(layer.kv_up), true;
    case TensorRole::kOutput:
      return fn(layer.o), true;
    case TensorRole::kIndexQuery:
      return fn(layer.indexer.wq_b), true;
    case TensorRole::kIndexKey:
      return fn(layer.indexer.wk), true;
    case TensorRole::kIndexKeyNorm:
      return fn(layer.indexer.k_norm_weight), true;
    case TensorRole::kIndexKeyNormBias:
      return fn(layer.indexer.k_norm_bias), true;
    case TensorRole::kIndexGate:
      return fn(layer.indexer.weights_proj), true;
    default:
      return false;
  }
}

// The same for the other half; layer.experts has the tensor's expert.
template <class Layer, class Fn>
bool at_feed_forward_slot(Layer& layer, const ModelTensor& tensor, const Fn& fn) {
  switch (tensor.row->role) {
    case TensorRole::kPostAttentionNorm:
      return fn(layer.post_attention_norm), true;
    case TensorRole::kRouter:
      return fn(layer.router), true;
    case TensorRole::kRouterBias:
      return fn(layer.router_bias), true;
    case TensorRole::kMlpGate:
    case TensorRole::kSharedGate:
      return fn(layer.mlp.gate), true;
    case TensorRole::kMlpUp:
    case TensorRole::kSharedUp:
      return fn(layer.mlp.up), true;
    case TensorRole::kMlpDown:
    case TensorRole::kSharedDown:
      return fn(layer.mlp.down), true;
    case TensorRole::kExpertGate:
      return fn(layer.experts[static_cast<size_t>(tensor.expert)].gate), true;
    case TensorRole::kExpertUp:
      return fn(layer.experts[static_cast<size_t>(tensor.expert)].up), true;
    case TensorRole::kExpertDown:
      return fn(layer.experts[static_cast<size_t>(tensor.expert)].down), true;
    default:
      return false;
  }
}

// The same for every tensor but those of a layer.
template <class Model, class Fn>
bool at_model_slot(Model& model, TensorRole role, const Fn& fn) {
  switch (role) {
    case TensorRole::kEmbedding:
      return fn(model.embedding), true;
    case TensorRole::kFinalNorm:
      return fn(model.final_norm), true;
    case TensorRole::kLmHead:
      return fn(model.lm_head), true;
    default:
      return false;
  }
}

// Any of them; an expert that is not there yet is added.
template <class Layer, class Fn>
bool at_layer_slot(Layer& layer, const ModelTensor& tensor, const Fn& fn) {
  if (tensor.expert >= static_cast<int64_t>(layer.experts.size())) layer.experts.emplace_back();
  return at_attention_slot(layer, tensor.row->role, fn) || at_feed_forward_slot(layer, tensor, fn);
}

}  // namespace dsa
