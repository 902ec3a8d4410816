// Comparison of a checkpoint's outputs with those another implementation wrote down.
#pragma once

#include <optional>
#include <string>

#include "dsa/status.h"

#include "cli/options.h"

namespace cli {

struct VerifyOptions {
  ModelOptions model;
  std::string expected;
  int64_t n_prefill = 0;            // 0: all but the last eighth
  std::optional<double> tolerance;  // of a logit, when all is computed in float; 5e-4 if not given
  bool json = false;
};

// Runs `tokens` of the expected file and compares `logits` and every `topk.L`. In float every logit
// must be within the tolerance and every selection the same. With a quantised cache roundings flip
// now and then: then the median difference and the share of equal selections are bounded.
//   Errors  kCorruption: an output differs. What was found is printed either way. Throws
//           UsageError when options contradict each other.
dsa::Status verify_checkpoint(const VerifyOptions& options);

}  // namespace cli
