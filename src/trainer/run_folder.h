// The folder of a run: checkpoints step-00000100, ..., each a model that can be run with the
// optimiser's state in it; `latest`, a link to the newest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dsa/status.h"
#include "dsa/train.h"

#include "trainer/adamw.h"
#include "trainer/run_state.h"
#include "trainer/start.h"

namespace dsa::trainer {

class RunFolder {
 public:
  RunFolder(const TrainConfig& config, const RunStart& start) : config_(config), start_(start) {}

  // The newest checkpoint; nothing: there is none.
  std::optional<std::string> newest() const;

  // Reads a checkpoint into the parameters' values and the optimiser.
  //   Errors  kInvalidArgument: made by another configuration (names the key), token file or init;
  //   kNotFound, kIoError, kCorruption: files
  Result<RunState> load(const std::string& checkpoint,
                        backprop::TrainModel* model,
                        AdamW* optimizer) const;

  // Writes the checkpoint of that state, points `latest` to it and removes all but the newest.
  //   Errors  kIoError: no checkpoint was removed
  Result<std::string> save(const RunState& state,
                           const backprop::TrainModel& model,
                           const AdamW& optimizer) const;

  // Points `latest` to a checkpoint: save() may have been killed before it did.   Errors  kIoError
  Status point_latest(const std::string& checkpoint) const;

  // Removes what a killed process left half-written.
  void clean() const;

 private:
  Status write_model(const std::string& path, const backprop::TrainModel& model) const;
  Status write_tokenizer(const std::string& folder) const;
  Status write_optimizer(const std::string& path,
                         const backprop::TrainModel& model,
                         const AdamW& optimizer) const;
  void remove_old() const;
  std::vector<std::string> checkpoints() const;  // oldest first

  const TrainConfig& config_;
  const RunStart& start_;
};

}  // namespace dsa::trainer
