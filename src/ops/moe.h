// The mixture of experts.
//
//   router     p = sigmoid(W x) or softmax(W x);  c = p + bias;  the best groups by the sum of
//              their two best c;
//              the best experts of those by c;  weight = p, divided by their sum, times scaling
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/dtype.h"
#include "ops/context.h"
#include "ops/matmul.h"
#include "ops/mlp.h"
#include "ops/rows.h"
#include "runtime/scratch.h"
#include "tensor/weight.h"

namespace dsa {

struct RouterConfig {
  size_t n_experts = 0;
  size_t n_chosen = 0;
  size_t n_groups = 1;
  size_t n_chosen_groups = 1;
  bool normalise = true;
  bool softmax = false;
  float scaling = 1;
  const float* bias = nullptr;  // [n_experts] added for the choice only; null: none, and a group
                                // counts by its best expert instead of its two best
};

// One token: logits [n_experts] -> the chosen experts, ascending, and their weights, [n_chosen].
// Equal values: the lower index is chosen; NaN counts as the lowest.
void route(const RouterConfig& config, const float* logits, int32_t* experts, float* weights);

struct MoeWeights {
  Weight router;  // [n_experts, hidden]
  RouterConfig config;
  std::span<const MlpWeights> experts;
  DTypeSet input_types;  // of the experts' gate and up
  DTypeSet inner_types;  // of their down
};

struct MoeScratch {
  float* logits = nullptr;     // [max_tokens, n_experts]
  int32_t* experts = nullptr;  // [max_tokens, n_chosen]
  float* weights = nullptr;    // [max_tokens, n_chosen]
  int32_t* order = nullptr;    // [max_tokens * n_chosen] (token, slot) pairs, expert by expert
  int32_t* starts = nullptr;   // [n_experts + 1] first entry of each expert in `order`
  RowBuffer gathered;          // [capacity, hidden] inputs, expert by expert
  float* outputs = nullptr;    // [capacity, hidden]
  MlpScratch inner;            // [capacity, moe inner]
  size_t capacity = 0;         // routed rows processed at a time; at least max_tokens

  void plan(const RouterConfig& config,
            size_t hidden,
            size_t inner_size,
            size_t max_tokens,
            Twins twins,
            ScratchPlan* plan);
};

// out[i] += sum_e weight[i,e] * expert_e(x[i]); experts are added in ascending order.
void mixture_of_experts(const OpContext& context,
                        const MoeWeights& weights,
                        const Activation& x,
                        size_t m,
                        const MoeScratch& scratch,
                        float* out,
                        size_t ld_out);

}  // namespace dsa
