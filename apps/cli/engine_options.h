// The engine that ModelOptions ask for.
#pragma once

#include <cstdint>

#include "dsa/engine.h"

#include "cli/options.h"

namespace cli {

// For one sequence of n_tokens. Throws UsageError when options contradict each other or the
// checkpoint, whose index_topk is checkpoint_top_k.
dsa::EngineOptions engine_options(const ModelOptions& options,
                                  int64_t checkpoint_top_k,
                                  int64_t n_tokens);

}  // namespace cli
