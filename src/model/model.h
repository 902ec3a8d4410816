// What the library itself sees of a dsa::Model, beyond its public functions.
#pragma once

#include <memory>

#include "dsa/model.h"
#include "dsa/model_config.h"
#include "dsa/status.h"

#include "io/tensor_source.h"
#include "model/weights.h"

namespace dsa {

struct ModelInternals {
  // The model of a configuration whose tensors come from `source`, which it keeps.
  //   Errors  the first problem of load_weights().
  static Result<std::shared_ptr<const Model>> make(ModelConfig config,
                                                   std::unique_ptr<TensorSource> source);

  static const ModelWeights& weights(const Model& model);
};

}  // namespace dsa
