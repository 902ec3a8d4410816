#include "train/head.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "train/norms.h"

namespace dsa {

namespace {

// Rows [begin, begin + n) of the batch, normed, and their logits.
void compute_logits(const Run& run, const HeadParameters& parameters, size_t begin, size_t n) {
  const SharedState& shared = run.shared;
  run_products(run.context,
               {forward_product({shared.head_normed + begin * run.dims.hidden, run.dims.hidden}, n,
                                parameters.lm_head, {shared.logits, run.dims.vocab})});
}

// logits <- factor * (softmax(logits) - target); returns the cross-entropy.
double differentiate_row(const Run& run, float* logits, int32_t target, float factor) {
  const size_t vocab = run.dims.vocab;
  if (target < 0) {
    std::fill_n(logits, vocab, 0.0F);
    return 0;
  }
  const float lse = run.context.vector().log_sum_exp(logits, vocab);
  const double loss = static_cast<double>(lse) - static_cast<double>(logits[target]);
  const float shifted = lse - std::log(factor);
  run.context.train().exp_rows({logits, vocab, 1, vocab, nullptr}, 1.0F, &shifted);
  logits[target] -= factor;
  return loss;
}

// fn(begin, n) for runs of rows that have a target.
template <class Fn>
void for_logit_rows(const Run& run, const Fn& fn) {
  for (size_t begin = 0; begin < run.n_tokens(); begin += run.shared.logit_rows)
    fn(begin, std::min(run.shared.logit_rows, run.n_tokens() - begin));
}

bool has_target(std::span<const int32_t> targets) {
  return std::any_of(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; });
}

}  // namespace

double cross_entropy(const Run& run,
                     const HeadParameters& parameters,
                     std::span<const int32_t> targets,
                     float factor) {
  const SharedState& shared = run.shared;
  const size_t hidden = run.dims.hidden;
  const Rows stream = {shared.hidden, hidden};
  const Rows normed = {shared.head_normed, hidden};
  const Rows logits = {shared.logits, run.dims.vocab};
  const Rows d_normed = {shared.d_normed, hidden};
  rms_norm_rows(run, stream, parameters.final_norm, hidden, normed);
  std::memset(d_normed.data, 0, run.n_tokens() * hidden * sizeof(float));
  std::memset(shared.d_hidden, 0, run.n_tokens() * hidden * sizeof(float));
  for_logit_rows(run, [&](size_t begin, size_t n) {
    if (!has_target(targets.subspan(begin, n))) {
      std::fill_n(shared.row_loss + begin, n, 0.0);
      return;
    }
    compute_logits(run, parameters, begin, n);
    for_rows(run.context, n, [&](size_t i) {
      shared.row_loss[begin + i] =
          differentiate_row(run, logits.row(i), targets[begin + i], factor);
    });
    run_products(run.context, {input_gradient(logits, n, parameters.lm_head, d_normed.from(begin)),
                               weight_gradient(logits, normed.from(begin), n, parameters.lm_head)});
  });
  rms_norm_rows_backward(run, stream, parameters.final_norm, hidden, d_normed,
                         {shared.d_hidden, hidden});
  double loss = 0;
  for (size_t i = 0; i < run.n_tokens(); ++i)
    loss += shared.row_loss[i];
  return loss;
}

void token_losses(const Run& run,
                  const HeadParameters& parameters,
                  std::span<const int32_t> targets,
                  float* token_loss,
                  int32_t* best) {
  const SharedState& shared = run.shared;
  const size_t hidden = run.dims.hidden;
  const size_t vocab = run.dims.vocab;
  rms_norm_rows(run, {shared.hidden, hidden}, parameters.final_norm, hidden,
                {shared.head_normed, hidden});
  for_logit_rows(run, [&](size_t begin, size_t n) {
    compute_logits(run, parameters, begin, n);
    for_rows(run.context, n, [&](size_t i) {
      const float* logits = shared.logits + i * vocab;
      const int32_t target = targets[begin + i];
      token_loss[begin + i] =
          target < 0 ? std::numeric_limits<float>::quiet_NaN()
                     : run.context.vector().log_sum_exp(logits, vocab) - logits[target];
      best[begin + i] = static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);
    });
  });
}

}  // namespace dsa
