#include "backprop/head.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backprop/norms.h"

namespace dsa::backprop {

namespace {

// Rows [begin, begin + n) of the batch, normed, and their logits.
void compute_logits(const LayerWork& work,
                    const HeadParameters& parameters,
                    size_t begin,
                    size_t n) {
  const SharedState& shared = work.shared;
  run_products(work.context,
               {forward_product({shared.head_normed + begin * work.dims.hidden, work.dims.hidden},
                                n, parameters.lm_head, {shared.logits, work.dims.vocab})});
}

// logits <- factor * (softmax(logits) - target); returns the cross-entropy.
double differentiate_row(const LayerWork& work, float* logits, int32_t target, float factor) {
  const size_t vocab = work.dims.vocab;
  if (target < 0) {
    std::fill_n(logits, vocab, 0.0F);
    return 0;
  }
  const float lse = work.context.vector().log_sum_exp(logits, vocab);
  const double loss = static_cast<double>(lse) - static_cast<double>(logits[target]);
  const float shifted = lse - std::log(factor);
  work.context.train().exp_rows({logits, vocab, 1, vocab, nullptr}, 1.0F, &shifted);
  logits[target] -= factor;
  return loss;
}

// fn(begin, n) for runs of rows that have a target.
template <class Fn>
void for_logit_rows(const LayerWork& work, const Fn& fn) {
  for (size_t begin = 0; begin < work.n_tokens(); begin += work.shared.logit_rows)
    fn(begin, std::min(work.shared.logit_rows, work.n_tokens() - begin));
}

bool has_target(std::span<const int32_t> targets) {
  return std::any_of(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; });
}

}  // namespace

double cross_entropy(const LayerWork& work,
                     const HeadParameters& parameters,
                     std::span<const int32_t> targets,
                     float factor) {
  const SharedState& shared = work.shared;
  const size_t hidden = work.dims.hidden;
  const Rows stream = {shared.hidden, hidden};
  const Rows normed = {shared.head_normed, hidden};
  const Rows logits = {shared.logits, work.dims.vocab};
  const Rows d_normed = {shared.d_normed, hidden};
  rms_norm_rows(work, stream, parameters.final_norm, hidden, normed);
  std::memset(d_normed.data, 0, work.n_tokens() * hidden * sizeof(float));
  std::memset(shared.d_hidden, 0, work.n_tokens() * hidden * sizeof(float));
  for_logit_rows(work, [&](size_t begin, size_t n) {
    if (!has_target(targets.subspan(begin, n))) {
      std::fill_n(shared.row_loss + begin, n, 0.0);
      return;
    }
    compute_logits(work, parameters, begin, n);
    for_rows(work.context, n, [&](size_t i) {
      shared.row_loss[begin + i] =
          differentiate_row(work, logits.row(i), targets[begin + i], factor);
    });
    run_products(work.context,
                 {input_gradient(logits, n, parameters.lm_head, d_normed.from(begin)),
                  weight_gradient(logits, normed.from(begin), n, parameters.lm_head)});
  });
  rms_norm_rows_backward(work, stream, parameters.final_norm, hidden, d_normed,
                         {shared.d_hidden, hidden});
  double loss = 0;
  for (size_t i = 0; i < work.n_tokens(); ++i)
    loss += shared.row_loss[i];
  return loss;
}

void token_losses(const LayerWork& work,
                  const HeadParameters& parameters,
                  std::span<const int32_t> targets,
                  float* token_loss,
                  int32_t* best) {
  const SharedState& shared = work.shared;
  const size_t hidden = work.dims.hidden;
  const size_t vocab = work.dims.vocab;
  rms_norm_rows(work, {shared.hidden, hidden}, parameters.final_norm, hidden,
                {shared.head_normed, hidden});
  for_logit_rows(work, [&](size_t begin, size_t n) {
    compute_logits(work, parameters, begin, n);
    for_rows(work.context, n, [&](size_t i) {
      const float* logits = shared.logits + i * vocab;
      const int32_t target = targets[begin + i];
      token_loss[begin + i] =
          target < 0 ? std::numeric_limits<float>::quiet_NaN()
                     : work.context.vector().log_sum_exp(logits, vocab) - logits[target];
      best[begin + i] = static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);
    });
  });
}

}  // namespace dsa::backprop
