// A plan as a pass of the engine, which chooses the tokens that follow.
#pragma once

#include <vector>

#include "dsa/engine.h"

#include "scheduler/plan.h"

namespace dsa::scheduler {

// The pass puts what it gives into its requests: the choice with its log-probabilities, selections
// that are wanted. plan and filtered, memory for logits that a request filters, must stay until the
// pass ends.   Errors  of Engine::begin().
Result<Pass> begin_plan(Engine* engine, const Plan& plan, std::vector<float>* filtered);

}  // namespace dsa::scheduler
