// Log-probabilities of a model's next token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/scheduler.h"

namespace dsa::scheduler {

// log sum exp of the finite logits, in double; NaN and infinities take no part.
double log_normaliser(std::span<const float> logits);

// The n largest, ties by the lowest id; NaN and -inf are left out, so there may be fewer.
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, double normaliser, int32_t n);

}  // namespace dsa::scheduler
