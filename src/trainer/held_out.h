// Measures a model on the documents that are held back.
#pragma once

#include <memory>
#include <vector>

#include "dsa/status.h"
#include "dsa/train.h"

#include "trainer/batches.h"
#include "trainer/start.h"

namespace dsa::trainer {

class HeldOut {
 public:
  // The same sequences in every run with that seed. Null where nothing is held back.
  static Result<std::unique_ptr<HeldOut>> create(const TrainConfig& config, const RunStart& start);

  // pretrain: dense attention. warmup and sparse: the indexer's selection, with its recall and mass
  // over the queries that see more than top_k tokens.
  Result<TrainEvaluation> measure(int64_t step, backprop::TrainModel* model) const;

 private:
  std::vector<BatchBuffer> sequences_;
  backprop::TrainStage stage_ = backprop::TrainStage::kPretrain;
};

}  // namespace dsa::trainer
