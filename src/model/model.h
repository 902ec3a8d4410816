// What a dsa::Model holds.
#pragma once

#include <memory>

#include "dsa/model.h"
#include "dsa/model_config.h"
#include "dsa/status.h"

#include "io/tensor_source.h"
#include "model/weights.h"

namespace dsa {

struct Model::Impl {
  std::unique_ptr<TensorSource> source;  // keeps the files mapped
  ModelConfig config;
  ModelWeights weights;
};

// The model of a configuration whose tensors come from `source`.
//   Errors  the first problem of load_weights().
Result<std::shared_ptr<const Model>> make_model(ModelConfig config,
                                                std::unique_ptr<TensorSource> source);

}  // namespace dsa
