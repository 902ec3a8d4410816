#include "ops/moe.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace dsa {

namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr size_t kMinCapacity = 64;

// Index of the greatest of values[0..n); ties: the lowest.
size_t arg_max(const float* values, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; ++i) {
    if (values[i] > values[best]) best = i;
  }
  return best;
}

// The two best choices of a group, added; the best alone where the router has no bias.
float group_score(const float* choice, size_t n, bool two) {
  float first = kLowest;
  float second = kLowest;
  for (size_t i = 0; i < n; ++i) {
    if (choice[i] > first) {
      second = first;
      first = choice[i];
    } else if (choice[i] > second) {
      second = choice[i];
    }
  }
  return two && n > 1 ? first + second : first;
}

// Sets the choices outside the best groups to -inf.
void keep_best_groups(const RouterConfig& config, std::vector<float>* choice) {
  const size_t size = config.n_experts / config.n_groups;
  std::vector<float> scores(config.n_groups);
  for (size_t g = 0; g < config.n_groups; ++g) {
    scores[g] = group_score(choice->data() + g * size, size, config.bias != nullptr);
  }
  std::vector<bool> kept(config.n_groups, false);
  for (size_t i = 0; i < config.n_chosen_groups; ++i) {
    const size_t best = arg_max(scores.data(), config.n_groups);
    kept[best] = true;
    scores[best] = kLowest;
  }
  for (size_t g = 0; g < config.n_groups; ++g) {
    if (!kept[g])
      std::fill_n(choice->begin() + static_cast<std::ptrdiff_t>(g * size), size, kLowest);
  }
}

}  // namespace

namespace {

void sigmoid_scores(const float* logits, std::vector<float>* scores) {
  for (size_t e = 0; e < scores->size(); ++e)
    (*scores)[e] = 1.0F / (1.0F + std::exp(-logits[e]));
}

// NaN where a logit is NaN.
void softmax_scores(const float* logits, std::vector<float>* scores) {
  const float greatest = *std::max_element(logits, logits + scores->size());
  float sum = 0;
  for (size_t e = 0; e < scores->size(); ++e)
    sum += (*scores)[e] = std::exp(logits[e] - greatest);
  for (float& score : *scores)
    score /= sum;
}

}  // namespace

void route(const RouterConfig& config, const float* logits, int32_t* experts, float* weights) {
  std::vector<float> probability(config.n_experts);
  std::vector<float> choice(config.n_experts);
  (config.softmax ? softmax_scores : sigmoid_scores)(logits, &probability);
  for (size_t e = 0; e < config.n_experts; ++e) {
    const float biased = probability[e] + (config.bias == nullptr ? 0.0F : config.bias[e]);
    choice[e] = std::isnan(biased) ? kLowest : biased;
  }
  if (config.n_chosen_groups < config.n_groups) keep_best_groups(config, &choice);
  std::vector<bool> taken(config.n_experts, false);
  for (size_t i = 0; i < config.n_chosen; ++i) {
    size_t best = config.n_experts;
    for (size_t e = 0; e < config.n_experts; ++e) {
      if (!taken[e] && (best == config.n_experts || choice[e] > choice[best])) best = e;
    }
    taken[best] = true;
    experts[i] = static_cast<int32_t>(best);
  }
  std::sort(experts, experts + config.n_chosen);
  float sum = 0;
  for (size_t i = 0; i < config.n_chosen; ++i) {
    weights[i] = probability[static_cast<size_t>(experts[i])];
    sum += weights[i];
  }
  const float factor = config.normalise ? config.scaling / (sum + 1e-20F) : config.scaling;
  for (size_t i = 0; i < config.n_chosen; ++i)
    weights[i] *= factor;
}

namespace {

// Sorts the (token, slot) pairs by expert; within an expert by token.
void sort_by_expert(const MoeWeights& weights, size_t m, const MoeScratch& scratch) {
  const size_t n_chosen = weights.config.n_chosen;
  const size_t n_experts = weights.config.n_experts;
  std::fill_n(scratch.starts, n_experts + 1, 0);
  for (size_t i = 0; i < m * n_chosen; ++i)
    ++scratch.starts[scratch.experts[i] + 1];
  for (size_t e = 0; e < n_experts; ++e)
    scratch.starts[e + 1] += scratch.starts[e];
  std::vector<int32_t> next(scratch.starts, scratch.starts + n_experts);
  for (size_t i = 0; i < m * n_chosen; ++i) {
    scratch.order[next[static_cast<size_t>(scratch.experts[i])]++] = static_cast<int32_t>(i);
  }
}

// Experts [begin, end) whose routed rows fit the scratch together.
struct ExpertGroup {
  size_t begin = 0;
  size_t end = 0;
  size_t first_entry = 0;
  size_t n_entries = 0;
};

ExpertGroup next_group(const MoeWeights& weights, const MoeScratch& scratch, size_t begin) {
  ExpertGroup group;
  group.begin = begin;
  group.first_entry = static_cast<size_t>(scratch.starts[begin]);
  group.end = begin;
  while (group.end < weights.config.n_experts) {
    const size_t entries = static_cast<size_t>(scratch.starts[group.end + 1]) - group.first_entry;
    if (entries > scratch.capacity) break;
    group.n_entries = entries;
    ++group.end;
  }
  return group;
}

void gather_inputs(const OpContext& context,
                   const MoeWeights& weights,
                   const ExpertGroup& group,
                   const Activation& x,
                   const MoeScratch& scratch) {
  const RowBuffer& gathered = scratch.gathered;
  const bool bf16 = read_by(context, weights.input_types).contains(ActivationFormat::kBF16);
  for_each_row(context, group.n_entries, [&](size_t i) {
    const size_t token =
        static_cast<size_t>(scratch.order[group.first_entry + i]) / weights.config.n_chosen;
    std::memcpy(gathered.row(i), x.f32 + token * x.ld, gathered.ld * sizeof(float));
    if (bf16) {
      std::memcpy(gathered.bf16 + i * gathered.ld, x.bf16 + token * x.ld,
                  gathered.ld * sizeof(uint16_t));
    }
  });
}

// Calls fn(expert, first row in the group, rows) for the experts that have rows.
template <class Fn>
void for_each_expert(const ExpertGroup& group, const MoeScratch& scratch, const Fn& fn) {
  for (size_t e = group.begin; e < group.end; ++e) {
    const auto first = static_cast<size_t>(scratch.starts[e]);
    const auto last = static_cast<size_t>(scratch.starts[e + 1]);
    if (last > first) fn(e, first - group.first_entry, last - first);
  }
}

void run_group(const OpContext& context,
               const MoeWeights& weights,
               const ExpertGroup& group,
               const MoeScratch& scratch) {
  const RowBuffer& inputs = scratch.gathered;
  const RowBuffer& inner = scratch.inner.inner;
  const Activation x = inputs.activation(read_by(context, weights.input_types));
  const Twins inner_twins = read_by(context, weights.inner_types);
  std::vector<MatmulJob> jobs;
  for_each_expert(group, scratch, [&](size_t e, size_t first, size_t n) {
    const MlpWeights& expert = weights.experts[e];
    const Activation rows = x.from_row(first);
    jobs.push_back(matmul_nt(context, rows, n, expert.gate, inner.row(first), inner.ld));
    jobs.push_back(
        matmul_nt(context, rows, n, expert.up, scratch.inner.up + first * inner.ld, inner.ld));
  });
  run_matmuls(context, jobs);
  for_each_row(context, group.n_entries, [&](size_t i) {
    context.vector().silu_mul(inner.row(i), scratch.inner.up + i * inner.ld, inner.ld,
                              inner.row(i));
    inner.prepare(context.vector(), inner_twins, i, 0, inner.ld);
  });
  jobs.clear();
  const Activation activated = inner.activation(inner_twins);
  for_each_expert(group, scratch, [&](size_t e, size_t first, size_t n) {
    jobs.push_back(matmul_nt(context, activated.from_row(first), n, weights.experts[e].down,
                             scratch.outputs + first * inputs.ld, inputs.ld));
  });
  run_matmuls(context, jobs);
}

// Adds each routed row to its token. A token's rows are added in ascending order of their entry,
// which is the order of the experts.
void scatter_outputs(const OpContext& context,
                     const ExpertGroup& group,
                     const MoeWeights& weights,
                     size_t m,
                     const MoeScratch& scratch,
                     float* out,
                     size_t ld_out) {
  const size_t n_chosen = weights.config.n_chosen;
  std::vector<int32_t> entry_of(m * n_chosen, -1);
  for (size_t i = 0; i < group.n_entries; ++i) {
    entry_of[static_cast<size_t>(scratch.order[group.first_entry + i])] = static_cast<int32_t>(i);
  }
  for_each_row(context, m, [&](size_t token) {
    for (size_t slot = 0; slot < n_chosen; ++slot) {
      const int32_t entry = entry_of[token * n_chosen + slot];
      if (entry < 0) continue;
      const size_t hidden = scratch.gathered.ld;
      context.vector().add_scaled(scratch.outputs + static_cast<size_t>(entry) * hidden,
                                  scratch.weights[token * n_chosen + slot], hidden,
                                  out + token * ld_out);
    }
  });
}

}  // namespace

void MoeScratch::plan(const RouterConfig& config,
                      size_t hidden,
                      size_t inner_size,
                      size_t max_tokens,
                      Twins twins,
                      ScratchPlan* plan) {
  capacity = std::max(max_tokens, kMinCapacity);
  plan->add(&logits, max_tokens * config.n_experts);
  plan->add(&experts, max_tokens * config.n_chosen);
  plan->add(&weights, max_tokens * config.n_chosen);
  plan->add(&order, max_tokens * config.n_chosen);
  plan->add(&starts, config.n_experts + 1);
  plan_buffer(plan, &gathered, capacity, hidden, twins);
  plan->add(&outputs, capacity * hidden);
  inner.plan(capacity, inner_size, twins, plan);
}

void mixture_of_experts(const OpContext& context,
                        const MoeWeights& weights,
                        const Activation& x,
                        size_t m,
                        const MoeScratch& scratch,
                        float* out,
                        size_t ld_out) {
  const RouterConfig& config = weights.config;
  // The router decides on f32 activations whatever the rest computes in.
  linear(context, x.without_twins(), m, weights.router, scratch.logits, config.n_experts);
  for_each_row(context, m, [&](size_t i) {
    route(config, scratch.logits + i * config.n_experts, scratch.experts + i * config.n_chosen,
          scratch.weights + i * config.n_chosen);
  });
  sort_by_expert(weights, m, scratch);
  for (size_t begin = 0; begin < config.n_experts;) {
    const ExpertGroup group = next_group(weights, scratch, begin);
    if (group.n_entries > 0) {
      gather_inputs(context, weights, group, x, scratch);
      run_group(context, weights, group, scratch);
      scatter_outputs(context, group, weights, m, scratch, out, ld_out);
    }
    begin = group.end;
  }
}

}  // namespace dsa
