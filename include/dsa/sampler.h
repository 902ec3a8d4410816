// Sampler: chooses the next token from the logits of a model.
//
// Steps, each on what the one before left:
//   1. repeat_penalty r: logit of every token in `recent` becomes l / r when l > 0, else l * r
//   2. temperature t: 0 takes the largest logit and stops (ties: the lowest id); else l / t
//   3. top_k: the k largest (ties: the lowest ids)
//   4. top_p: the fewest, largest first, whose probabilities sum to at least p
//   5. min_p: those with a probability of at least min_p times the largest
//   6. one of the rest, drawn by its probability
// NaN and -inf are never chosen; +inf is the largest finite value.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/status.h"

namespace dsa {

struct SamplerOptions {
  float temperature = 0.0F;     // >= 0; 0 is greedy
  int32_t top_k = 0;            // >= 0; 0 is off
  float top_p = 1.0F;           // in (0, 1]; 1 is off
  float min_p = 0.0F;           // in [0, 1]; 0 is off
  float repeat_penalty = 1.0F;  // > 0; 1 is off
  uint64_t seed = 0;
};

// Threads  one at a time. The same seed, options and logits give the same tokens on every platform
//          whose exp() agrees.
class Sampler {
 public:
  // Errors   kInvalidArgument: an option out of its range; names it
  static Result<Sampler> create(const SamplerOptions& options);

  // logits [vocab]; recent: the tokens that repeat_penalty applies to, ids outside [0, vocab) are
  // ignored. Gives an id in [0, vocab).
  // Errors   kInvalidArgument: no logits, or every one is NaN or -inf
  Result<int32_t> sample(std::span<const float> logits, std::span<const int32_t> recent = {});

 private:
  struct Candidate {
    float logit;  // after the penalty
    int32_t id;
    double weight;  // its probability, but for a common factor: 1 for the largest logit
  };
  static bool ranks_before(const Candidate& a, const Candidate& b);

  explicit Sampler(const SamplerOptions& options);

  Status collect(std::span<const float> logits, std::span<const int32_t> recent);
  void weigh(float largest);
  void keep_top_k();
  void keep_top_p();
  void keep_min_p();
  int32_t draw();

  SamplerOptions options_;
  uint64_t state_;                     // of the random numbers
  std::vector<Candidate> candidates_;  // of one call
  std::vector<bool> recent_;           // by id, of one call
};

}  // namespace dsa
