// What a TrainModel holds.
#pragma once

#include <memory>
#include <vector>

#include "backprop/head.h"
#include "backprop/layer_state.h"
#include "backprop/layer_work.h"
#include "backprop/parameters.h"
#include "backprop/train_model.h"
#include "layers/rope.h"

namespace dsa::backprop {

struct TrainModel::Impl {
  ModelConfig config;
  TrainModelOptions options;
  TrainDims dims;
  TrainContext context;
  AlignedBuffer gemm_scratch;
  std::unique_ptr<ParameterSet> parameters;
  ModelState state;
  RopeTable rope;
  std::vector<std::vector<int64_t>> expert_counts;  // [n_layers], empty: not a mixture

  static Result<std::unique_ptr<TrainModel>> make(const ModelConfig& config,
                                                  const TrainModelOptions& options,
                                                  const TensorSource* source,
                                                  ThreadPool* pool);

  Status check(const TrainBatch& batch) const;
  BatchLayout layout_of(const TrainBatch& batch) const;
  std::vector<int32_t> targets_of(const TrainBatch& batch) const;
  HeadParameters head() const { return {parameters->final_norm, parameters->lm_head}; }
  bool indexed(size_t layer) const { return config.indexer.layers[layer] == IndexerKind::kFull; }

  // RoPE's angles and the embedding rows: shared.hidden.
  void begin(const LayerWork& work, std::span<const int32_t> tokens) const;
  // shared.hidden becomes the layer's input.
  void enter_layer(const LayerWork& work, const LayerState& layer) const;

  TrainLosses forward_backward(const TrainBatch& batch);
  EvalResult evaluate(const TrainBatch& batch, const EvalOptions& options);

 private:
  void forward(const LayerWork& work, float index_factor, TrainLosses* losses);
  void attend(const LayerWork& work, size_t index, float index_factor, TrainLosses* losses);
  void backward(const LayerWork& work, std::span<const int32_t> tokens);
  void restore(const LayerWork& work, size_t index);
  void embedding_backward(const LayerWork& work, std::span<const int32_t> tokens) const;
};

}  // namespace dsa::backprop
