// Sampler: chooses the next token from the logits of a model.
//
// Steps, each applied to the result of the previous one:
//   1. logit_bias: added to the logits of the tokens it names
//   2. repeat_penalty r: logit of every token in `recent` becomes l / r when l > 0, else l * r
//   3. of a token that is c > 0 times in `recent`: l - c frequency_penalty - presence_penalty
//   4. temperature t: l / t; 0 is greedy: takes the largest logit and stops (ties: the lowest id)
//   5. top_k: the k largest (ties: the lowest ids)
//   6. top_p: the fewest, largest first, whose probabilities sum to at least p
//   7. min_p: those with a probability of at least min_p times the largest
//   8. one of the remaining tokens, drawn by its probability
// NaN and -inf are never chosen; +inf is the largest finite value.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

struct SamplerOptions {
  float temperature = 0.0F;                             // >= 0; 0 is greedy
  int32_t top_k = 0;                                    // >= 0; 0 is off
  float top_p = 1.0F;                                   // in (0, 1]; 1 is off
  float min_p = 0.0F;                                   // in [0, 1]; 0 is off
  float repeat_penalty = 1.0F;                          // > 0; 1 is off
  float presence_penalty = 0.0F;                        // in [-2, 2]; 0 is off
  float frequency_penalty = 0.0F;                       // in [-2, 2]; 0 is off
  std::vector<std::pair<int32_t, float>> logit_bias{};  // token, bias in [-100, 100]; each once
  uint64_t seed = 0;
};

// Threads  one at a time. The same seed, options and logits give the same tokens on every platform
//          whose exp() agrees.
class Sampler {
 public:
  // Errors   kInvalidArgument: an option out of its range; names it
  static Result<Sampler> create(const SamplerOptions& options);

  // logits [vocab]; recent: the tokens that the penalties apply to, ids outside [0, vocab) are
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

  float adjusted(float logit, size_t id) const;
  Status collect(std::span<const float> logits, std::span<const int32_t> recent);
  void weigh(float largest);
  void keep_top_k();
  void keep_top_p();
  void keep_min_p();
  int32_t draw();

  SamplerOptions options_;
  uint64_t state_;                     // of the random numbers
  std::vector<Candidate> candidates_;  // of one call
  std::vector<int32_t> recent_;        // times in `recent`, by id, of one call
  std::vector<float> bias_;            // by id, as long as the largest one named
};

}  // namespace dsa

#pragma GCC visibility pop
