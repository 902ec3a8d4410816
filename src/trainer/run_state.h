// training_state.json: where a run is, and what it was begun with.
#pragma once

#include <cstdint>
#include <string>

#include "dsa/status.h"
#include "dsa/train.h"

#include "data/sequences.h"
#include "trainer/start.h"

namespace dsa::trainer {

constexpr const char* kStateFile = "/training_state.json";

// Where a run is: all that is not weights.
struct RunState {
  int64_t step = 0;  // done
  SequenceOrder::Position position;
};

std::string checkpoint_name(int64_t step);  // "step-00000100"

std::string run_state_text(const RunState& state, const TrainConfig& config, const RunStart& start);

//   Errors  kInvalidArgument: made by another configuration (names the key), token file or init;
//           kNotFound, kIoError; kCorruption: no state, or that of another step
Result<RunState> read_run_state(const std::string& checkpoint,
                                const TrainConfig& config,
                                const RunStart& start);

}  // namespace dsa::trainer
