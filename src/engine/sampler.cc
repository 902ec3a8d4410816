#include "dsa/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/random.h"
#include "common/status_macros.h"

namespace dsa {
namespace {

constexpr int32_t kMaxTokenId = 1 << 24;  // bounds the memory of logit_bias

Status check(const SamplerOptions& options) {
  const auto in_range = [](float value, float low, float high) {
    return value >= low && value <= high;  // false for NaN
  };
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kTiny = std::numeric_limits<float>::min();
  if (!in_range(options.temperature, 0.0F, kMax)) {
    return invalid_argument("temperature: {}, want 0 or more", options.temperature);
  }
  if (options.top_k < 0) return invalid_argument("top_k: {}, want 0 or more", options.top_k);
  if (!in_range(options.top_p, kTiny, 1.0F)) {
    return invalid_argument("top_p: {}, want more than 0, at most 1", options.top_p);
  }
  if (!in_range(options.min_p, 0.0F, 1.0F)) {
    return invalid_argument("min_p: {}, want between 0 and 1", options.min_p);
  }
  if (!in_range(options.repeat_penalty, kTiny, kMax)) {
    return invalid_argument("repeat_penalty: {}, want more than 0", options.repeat_penalty);
  }
  if (!in_range(options.presence_penalty, -2.0F, 2.0F)) {
    return invalid_argument("presence_penalty: {}, want between -2 and 2",
                            options.presence_penalty);
  }
  if (!in_range(options.frequency_penalty, -2.0F, 2.0F)) {
    return invalid_argument("frequency_penalty: {}, want between -2 and 2",
                            options.frequency_penalty);
  }
  for (const auto& [id, bias] : options.logit_bias) {
    if (id < 0 || id >= kMaxTokenId) {
      return invalid_argument("logit_bias: token {}, want one of the vocabulary", id);
    }
    if (in_range(bias, -100.0F, 100.0F)) continue;
    return invalid_argument("logit_bias: {} for token {}, want between -100 and 100", bias, id);
  }
  return Status();
}

float penalized(float logit, float penalty) {
  return logit > 0 ? logit / penalty : logit * penalty;
}

// The upper 53 bits give a double in [0, 1).
double next_uniform(uint64_t& state) {
  return static_cast<double>(next_random(&state) >> 11) * 0x1p-53;
}

}  // namespace

Result<Sampler> Sampler::create(const SamplerOptions& options) {
  DSA_RETURN_IF_ERROR(check(options));
  return Sampler(options);
}

Sampler::Sampler(const SamplerOptions& options) : options_(options), state_(options.seed) {
  for (const auto& [id, bias] : options.logit_bias) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= bias_.size()) bias_.resize(index + 1);
    bias_[index] = bias;
  }
}

// Larger logit first; the order of equals is that of their ids.
bool Sampler::ranks_before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const int32_t> recent) {
  DSA_RETURN_IF_ERROR(collect(logits, recent));
  const auto best = std::min_element(candidates_.begin(), candidates_.end(), ranks_before);
  if (options_.temperature == 0.0F) return best->id;
  weigh(best->logit);
  keep_top_k();
  keep_top_p();
  keep_min_p();
  return draw();
}

// The logit after bias and penalties.
float Sampler::adjusted(float logit, std::size_t id) const {
  if (id < bias_.size()) logit += bias_[id];
  const int32_t count = recent_[id];
  if (count == 0) return logit;
  return penalized(logit, options_.repeat_penalty) - options_.presence_penalty -
         static_cast<float>(count) * options_.frequency_penalty;
}

// Every token that may be chosen, in the order of ids.
Status Sampler::collect(std::span<const float> logits, std::span<const int32_t> recent) {
  recent_.assign(logits.size(), 0);
  for (const int32_t id : recent) {
    if (id >= 0 && static_cast<std::size_t>(id) < logits.size()) {
      ++recent_[static_cast<std::size_t>(id)];
    }
  }
  constexpr float kMax = std::numeric_limits<float>::max();
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] >= -kMax)) continue;  // NaN or -inf
    const float logit = adjusted(logits[i], i);
    candidates_.push_back({std::clamp(logit, -kMax, kMax), static_cast<int32_t>(i), 0.0});
  }
  if (!candidates_.empty()) return Status();
  return invalid_argument("logits: {} values, all NaN or -inf, want a number", logits.size());
}

void Sampler::weigh(float largest) {
  const auto temperature = static_cast<double>(options_.temperature);
  for (Candidate& c : candidates_) {
    const double below = static_cast<double>(c.logit) - static_cast<double>(largest);
    c.weight = std::exp(below / temperature);
  }
}

// What std::nth_element leaves first is in no portable order: sorted, so that draws repeat.
void Sampler::keep_top_k() {
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  const auto end = candidates_.begin() + options_.top_k;
  std::nth_element(candidates_.begin(), end, candidates_.end(), ranks_before);
  candidates_.erase(end, candidates_.end());
  std::sort(candidates_.begin(), candidates_.end(), ranks_before);
}

// A heap gives the largest first without sorting the many that are left out.
void Sampler::keep_top_p() {
  if (options_.top_p >= 1.0F) return;
  double total = 0;
  for (const Candidate& c : candidates_)
    total += c.weight;
  const double wanted = static_cast<double>(options_.top_p) * total;
  const auto ranks_after = [](const Candidate& a, const Candidate& b) {
    return ranks_before(b, a);
  };
  std::make_heap(candidates_.begin(), candidates_.end(), ranks_after);
  auto rest = candidates_.end();
  for (double sum = 0; rest != candidates_.begin() && sum < wanted; sum += rest->weight) {
    std::pop_heap(candidates_.begin(), rest, ranks_after);
    --rest;
  }
  candidates_.erase(candidates_.begin(), rest);
  std::reverse(candidates_.begin(), candidates_.end());
}

void Sampler::keep_min_p() {
  const auto least = static_cast<double>(options_.min_p);
  if (least == 0.0) return;
  const auto too_small = [least](const Candidate& c) { return c.weight < least; };
  candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), too_small),
                    candidates_.end());
}

int32_t Sampler::draw() {
  double total = 0;
  for (const Candidate& c : candidates_)
    total += c.weight;
  const double at = next_uniform(state_) * total;
  double sum = 0;
  int32_t chosen = candidates_.front().id;
  for (const Candidate& c : candidates_) {
    if (c.weight == 0.0) continue;
    chosen = c.id;  // the last one with any weight, when rounding lets `at` reach the total
    sum += c.weight;
    if (sum > at) break;
  }
  return chosen;
}

}  // namespace dsa
