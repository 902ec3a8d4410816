// The end of a pass: final norm and output matrix, for the rows whose logits are wanted.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "dsa/forward.h"
#include "dsa/model_config.h"

#include "layers/placed_step.h"
#include "layers/residual.h"
#include "model/weights.h"
#include "ops/context.h"
#include "ops/rows.h"
#include "runtime/scratch.h"

namespace dsa {

class LogitsHead {
 public:
  // config, weights and context's members must outlive the object.
  LogitsHead(const ModelConfig& config, const ModelWeights& weights, const OpContext& context);

  void plan(ScratchPlan* plan, size_t max_rows);

  // Calls hook with the logits of every row that the steps want, in batch order. Logits of a
  // bounded number of rows exist at a time.
  void run(std::span<const PlacedStep> steps,
           const Residual& residual,
           const std::function<void(const LogitsRow&)>& hook);

 private:
  const ModelConfig& config_;
  const ModelWeights& weights_;
  const OpContext context_;
  size_t n_rows_ = 0;        // whose logits exist at a time
  RowBuffer normed_;         // [n_rows, hidden]
  float* logits_ = nullptr;  // [n_rows, vocab]
};

}  // namespace dsa
