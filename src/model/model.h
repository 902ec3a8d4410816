// What a dsa::Model holds.
#pragma once

#include "dsa/engine.h"

#include "io/checkpoint.h"
#include "model/weights.h"

namespace dsa {

struct Model::Impl {
  Checkpoint checkpoint;  // keeps the files mapped
  ModelConfig config;
  ModelWeights weights;
};

}  // namespace dsa
