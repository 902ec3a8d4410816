#include "layers/logits_head.h"

#include <algorithm>
#include <vector>

#include "layers/wanted_rows.h"
#include "ops/matmul.h"

namespace dsa {

namespace {

constexpr size_t kLogitBytes = size_t{8} << 20;  // logits that exist at a time

}  // namespace

LogitsHead::LogitsHead(const ModelConfig& config,
                       const ModelWeights& weights,
                       const OpContext& context)
    : config_(config), weights_(weights), context_(context) {}

void LogitsHead::plan(ScratchPlan* plan, size_t max_rows) {
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  n_rows_ = std::clamp<size_t>(kLogitBytes / (vocab * sizeof(float)), 1, max_rows);
  plan_buffer(plan, &normed_, n_rows_, static_cast<size_t>(config_.hidden_size), {});
  plan->add(&logits_, n_rows_ * vocab);
}

void LogitsHead::run(std::span<const PlacedStep> steps,
                     const Residual& residual,
                     const std::function<void(const LogitsRow&)>& hook) {
  const std::vector<WantedRow> wanted = wanted_rows(steps, &PlacedStep::logits);
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  for (size_t begin = 0; begin < wanted.size(); begin += n_rows_) {
    const size_t count = std::min(n_rows_, wanted.size() - begin);
    for_each_row(context_, count, [&](size_t i) {
      context_.vector().rms_norm(residual.row(wanted[begin + i].row), weights_.final_norm.data(),
                                 normed_.ld, static_cast<float>(config_.rms_norm_eps),
                                 normed_.row(i));
    });
    linear(context_, normed_.activation({}), count, weights_.lm_head, logits_, vocab);
    for (size_t i = 0; i < count; ++i) {
      const WantedRow& row = wanted[begin + i];
      hook({row.step, row.position, {logits_ + i * vocab, vocab}});
    }
  }
}

}  // namespace dsa
