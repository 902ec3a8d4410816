// The gated MLP: mlp(x) = W_down (silu(W_gate x) * W_up x)
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/context.h"
#include "ops/matmul.h"
#include "ops/rows.h"
#include "runtime/scratch.h"
#include "tensor/weight.h"

namespace dsa {

struct MlpWeights {
  Weight gate;  // [inner, hidden]
  Weight up;    // [inner, hidden]
  Weight down;  // [hidden, inner]
};

// Buffers for the inner rows of any MLP; sized once for the widest.
struct MlpScratch {
  float* up = nullptr;  // [max_rows, inner]
  RowBuffer inner;      // [max_rows, inner]
  size_t max_rows = 0;

  void plan(size_t max_rows, size_t max_inner, Twins twins, ScratchPlan* plan);
};

// out[m, hidden] += mlp(x)
void mlp(const OpContext& context,
         const MlpWeights& weights,
         const Activation& x,
         size_t m,
         const MlpScratch& scratch,
         float* out,
         size_t ld_out);

}  // namespace dsa
