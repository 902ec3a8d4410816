#include "trainer/held_out.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/status_macros.h"
#include "data/sequences.h"

namespace dsa::trainer {
namespace {

struct Mean {
  double sum = 0;
  int64_t n = 0;

  void add(double value) {
    if (!std::isfinite(value)) return;
    sum += value;
    ++n;
  }
  double value() const {
    return n == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(n);
  }
};

// Adds the values of queries that had something to leave out, of every layer.
void add_selective(const std::vector<float>& values,
                   std::span<const backprop::DocumentSpan> documents,
                   int64_t n,
                   int64_t top_k,
                   Mean* mean) {
  for (size_t layer = 0; (layer + 1) * static_cast<size_t>(n) <= values.size(); ++layer) {
    for (const backprop::DocumentSpan& document : documents) {
      for (int64_t t = document.begin + top_k; t < document.end; ++t)
        mean->add(
            static_cast<double>(values[layer * static_cast<size_t>(n) + static_cast<size_t>(t)]));
    }
  }
}

}  // namespace

Result<std::unique_ptr<HeldOut>> HeldOut::create(const TrainConfig& config, const RunStart& start) {
  if (start.split.held_out.empty()) return std::unique_ptr<HeldOut>();
  auto held_out = std::make_unique<HeldOut>();
  held_out->stage_ = start.stage;
  auto order = SequenceOrder::create(*start.tokens, start.split.held_out,
                                     static_cast<uint64_t>(config.data.context),
                                     static_cast<uint64_t>(config.seed));
  if (!order.ok()) return std::unique_ptr<HeldOut>();  // documents of one token
  const auto wanted = static_cast<uint64_t>(config.evaluate.sequences);
  for (uint64_t i = std::min(order->n_sequences(), wanted); i > 0; --i) {
    held_out->sequences_.emplace_back();
    held_out->sequences_.back().add(*start.tokens, order->next());
  }
  return held_out;
}

Result<TrainEvaluation> HeldOut::measure(int64_t step, backprop::TrainModel* model) const {
  backprop::EvalOptions options;
  const bool selects = stage_ != backprop::TrainStage::kPretrain;
  options.selection = selects ? backprop::EvalSelection::kDsa : backprop::EvalSelection::kDense;
  options.coverage = selects;
  Mean loss;
  Mean recall;
  Mean mass;
  for (const BatchBuffer& sequence : sequences_) {
    DSA_ASSIGN_OR_RETURN(const backprop::EvalResult result,
                         model->evaluate(sequence.batch(), options));
    for (const float value : result.token_loss)
      loss.add(static_cast<double>(value));
    const int64_t top_k = model->options().top_k;
    add_selective(result.recall, sequence.documents(), sequence.n_tokens(), top_k, &recall);
    add_selective(result.mass, sequence.documents(), sequence.n_tokens(), top_k, &mass);
  }
  return TrainEvaluation{step, loss.value(), recall.value(), mass.value()};
}

}  // namespace dsa::trainer
