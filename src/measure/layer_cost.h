// Floating-point operations and bytes of one attention step, part by part, and what they cost at
// the limits of the machine.
#pragma once

#include "dsa_measure/bench.h"

namespace dsa {

struct LayerStep {
  const ModelConfig* shape = nullptr;
  LayerBenchOptions options;
  AttentionMode attention = AttentionMode::kDsa;
  int64_t context = 0;  // of the last query
  int64_t n_tokens = 0;
  bool sparse = false;
  bool int8_first = false;  // most keys are scored in int8 alone
};

// Per token of the step: names, flops, bytes and limits; ms stays 0.
std::array<PartMeasure, 5> layer_cost(const LayerStep& step, const MachineLimits& limits);

}  // namespace dsa
