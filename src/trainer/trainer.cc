#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dsa/thread_pool.h"
#include "dsa/train.h"

#include "common/status_macros.h"
#include "trainer/adamw.h"
#include "trainer/batches.h"
#include "trainer/expert_balance.h"
#include "trainer/held_out.h"
#include "trainer/run_folder.h"
#include "trainer/run_log.h"
#include "trainer/schedule.h"
#include "trainer/start.h"

namespace dsa::trainer {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Of a stage where the file leaves it open: DeepSeek's recipe, with higher rates for models that
// are thousands of times smaller (docs/training.md).
struct Recipe {
  double rate;
  double final_ratio;
};

Recipe recipe(backprop::TrainStage stage) {
  switch (stage) {
    case backprop::TrainStage::kPretrain:
      return {1e-3, 0.1};
    case backprop::TrainStage::kWarmup:
      return {1e-3, 1};
    case backprop::TrainStage::kSparse:
      return {1e-4, 1};
  }
  return {1e-3, 1};
}

Schedule schedule_of(const TrainConfig::Optimizer& o, backprop::TrainStage stage) {
  const Recipe defaults = recipe(stage);
  Schedule schedule;
  schedule.peak = o.learning_rate > 0 ? o.learning_rate : defaults.rate;
  schedule.final_ratio = o.final_ratio >= 0 ? o.final_ratio : defaults.final_ratio;
  schedule.warmup_steps = o.warmup_steps >= 0 ? o.warmup_steps : o.steps / 20;
  schedule.n_steps = o.steps;
  return schedule;
}

class TrainingRun {
 public:
  static Result<std::unique_ptr<TrainingRun>> create(const TrainConfig& config,
                                                     const TrainHooks& hooks);
  Result<TrainReport> run();

 private:
  TrainingRun(const TrainConfig& config, const TrainHooks& hooks, RunStart start)
      : config_(config),
        hooks_(hooks),
        start_(std::move(start)),
        pool_(static_cast<int>(config.threads)),
        folder_(config_, start_),
        schedule_(schedule_of(config.optimizer, start_.stage)) {}

  Status make_model();
  Status resume();
  void announce() const;
  Result<TrainStep> step();
  Result<double> accumulate(TrainStep* step);
  double update(TrainStep* step);
  std::string way_out() const;
  Status log_step(const TrainStep& step);
  Status evaluate();
  Status save();

  TrainConfig config_;
  const TrainHooks& hooks_;
  RunStart start_;
  ThreadPool pool_;
  RunFolder folder_;
  Schedule schedule_;
  std::unique_ptr<backprop::TrainModel> model_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<SequenceOrder> order_;
  std::unique_ptr<HeldOut> held_out_;
  std::unique_ptr<RunLog> log_;
  RunState state_;
  std::string checkpoint_;
  std::vector<BatchBuffer> passes_;
  std::vector<double> layer_kl_;
};

Status TrainingRun::make_model() {
  DSA_RETURN_IF_ERROR(pool_.status());
  backprop::TrainModelOptions options;
  options.stage = start_.stage;
  const int64_t per_pass = std::min(config_.batch.sequences_per_pass, config_.batch.sequences);
  options.max_tokens = per_pass * config_.data.context;
  options.seed = static_cast<uint64_t>(config_.seed);
  options.init_std = config_.model.init_std;
  options.new_indexers = start_.new_indexers;
  options.bf16_weights = config_.precision.bf16;
  options.recompute = config_.precision.recompute;
  Result<std::unique_ptr<backprop::TrainModel>> model =
      start_.source == nullptr
          ? backprop::TrainModel::create(start_.config, options, &pool_)
          : backprop::TrainModel::create(start_.config, options, *start_.source, &pool_);
  DSA_RETURN_IF_ERROR(model.status());
  model_ = std::move(model).value();
  const TrainConfig::Optimizer& o = config_.optimizer;
  optimizer_ = std::make_unique<AdamW>(
      model_->parameters(), AdamWOptions{o.beta1, o.beta2, o.eps, o.weight_decay}, &pool_);
  return {};
}

Status TrainingRun::resume() {
  DSA_ASSIGN_OR_RETURN(SequenceOrder order,
                       SequenceOrder::create(*start_.tokens, start_.split.train,
                                             static_cast<uint64_t>(config_.data.context),
                                             static_cast<uint64_t>(config_.seed)));
  order_ = std::make_unique<SequenceOrder>(std::move(order));
  folder_.clean();
  if (const auto newest = folder_.newest()) {
    checkpoint_ = *newest;
    DSA_ASSIGN_OR_RETURN(state_, folder_.load(*newest, model_.get(), optimizer_.get()));
    DSA_RETURN_IF_ERROR(order_->seek(state_.position));
    DSA_RETURN_IF_ERROR(folder_.point_latest(*newest));
  }
  DSA_ASSIGN_OR_RETURN(RunLog log, RunLog::open(config_.output + "/log.jsonl", state_.step));
  log_ = std::make_unique<RunLog>(std::move(log));
  if (config_.evaluate.every > 0) {
    DSA_ASSIGN_OR_RETURN(held_out_, HeldOut::create(config_, start_));
  }
  return {};
}

Result<std::unique_ptr<TrainingRun>> TrainingRun::create(const TrainConfig& config,
                                                         const TrainHooks& hooks) {
  DSA_ASSIGN_OR_RETURN(RunStart start, prepare_run(config, hooks.packing));
  std::unique_ptr<TrainingRun> run(new TrainingRun(config, hooks, std::move(start)));
  DSA_RETURN_IF_ERROR(run->make_model());
  DSA_RETURN_IF_ERROR(run->resume());
  return run;
}

uint64_t tokens_of(const TokenFile& file, const std::vector<uint64_t>& documents) {
  uint64_t n = 0;
  for (const uint64_t i : documents)
    n += file.document(i).end - file.document(i).begin;
  return n;
}

void TrainingRun::announce() const {
  if (!hooks_.start) return;
  TrainStart start;
  start.stage = config_.stage;
  for (const backprop::Parameter& parameter : model_->parameters())
    start.n_parameters += static_cast<int64_t>(parameter.size);
  for (const AdamW::Slot& slot : std::as_const(*optimizer_).slots())
    start.n_trained += static_cast<int64_t>(slot.parameter->size);
  start.memory_bytes = model_->memory_bytes();
  start.packed = start_.packed;
  start.tokens = start_.tokens_path;
  start.n_tokens = static_cast<int64_t>(tokens_of(*start_.tokens, start_.split.train));
  start.n_held_out_tokens = static_cast<int64_t>(tokens_of(*start_.tokens, start_.split.held_out));
  start.first_step = state_.step;
  start.n_steps = config_.optimizer.steps;
  start.n_threads = pool_.n_threads();
  hooks_.start(start);
}

// Gradients of all sequences of a step. Gives the sum of the losses.
Result<double> TrainingRun::accumulate(TrainStep* step) {
  const int64_t per_pass = std::min(config_.batch.sequences_per_pass, config_.batch.sequences);
  passes_.clear();
  for (int64_t i = 0; i < config_.batch.sequences; ++i) {
    if (i % per_pass == 0) passes_.emplace_back();
    passes_.back().add(*start_.tokens, order_->next());
  }
  for (const BatchBuffer& pass : passes_)
    step->tokens += pass.n_tokens();
  model_->zero_gradients();
  layer_kl_.clear();
  double loss = 0;
  double kl = 0;
  for (const BatchBuffer& pass : passes_) {
    backprop::TrainBatch batch = pass.batch();
    batch.lm_scale = batch.index_scale = 1 / static_cast<double>(step->tokens);
    DSA_ASSIGN_OR_RETURN(const backprop::TrainLosses losses, model_->forward_backward(batch));
    loss += losses.has_lm ? losses.lm_sum : kNan;
    kl += losses.index_kl_sum.empty() ? kNan
                                      : losses.index_kl() * static_cast<double>(losses.n_queries);
    layer_kl_.resize(losses.index_kl_sum.size());
    for (size_t layer = 0; layer < layer_kl_.size(); ++layer)
      layer_kl_[layer] += losses.index_kl_sum[layer] / static_cast<double>(step->tokens);
    for (const backprop::DocumentSpan& document : pass.documents())
      step->flops += model_->step_flops(document.end - document.begin);
  }
  step->loss = loss / static_cast<double>(step->tokens);
  step->index_kl = kl / static_cast<double>(step->tokens);
  return step->loss;
}

// The model and its indexers have losses of their own: each is clipped by its own norm.
double TrainingRun::update(TrainStep* step) {
  const TrainConfig::Optimizer& o = config_.optimizer;
  const double norms[] = {optimizer_->gradient_norm(false), optimizer_->gradient_norm(true)};
  step->gradient_norm = std::hypot(norms[0], norms[1]);
  if (!std::isfinite(step->gradient_norm)) return step->gradient_norm;
  const auto group = [&](double norm, double rate) {
    return UpdateGroup{rate, o.clip > 0 && norm > o.clip ? o.clip / norm : 1};
  };
  step->learning_rate = schedule_.rate(state_.step);
  double indexer_rate = step->learning_rate;
  if (start_.stage == backprop::TrainStage::kSparse && o.indexer_learning_rate > 0) {
    indexer_rate *= o.indexer_learning_rate / schedule_.peak;
  }
  optimizer_->update(state_.step + 1, group(norms[0], step->learning_rate),
                     group(norms[1], indexer_rate));
  balance_experts(o.expert_bias_rate, model_.get());
  model_->weights_changed();
  return step->gradient_norm;
}

// The same run would come to the same step again.
std::string TrainingRun::way_out() const {
  if (checkpoint_.empty()) {
    return "nothing was saved yet: begin again with a lower optimizer.learning_rate";
  }
  return fmt::format(
      "to go on from what was saved, begin another run with a lower optimizer.learning_rate, init "
      "= "
      "\"{}\", another output than {} and neither [model] nor [indexer]",
      checkpoint_, config_.output);
}

Result<TrainStep> TrainingRun::step() {
  const auto begin = Clock::now();
  TrainStep step;
  step.step = state_.step + 1;
  DSA_RETURN_IF_ERROR(accumulate(&step).status());
  if (!std::isfinite(update(&step))) {
    return invalid_argument("step {}: the norm of the gradient is {}; {}", step.step,
                            step.gradient_norm, way_out());
  }
  state_.step = step.step;
  state_.position = order_->position();
  step.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return step;
}

Status TrainingRun::log_step(const TrainStep& step) {
  nlohmann::ordered_json line = {{"type", "step"},
                                 {"stage", config_.stage},
                                 {"step", step.step},
                                 {"tokens", step.tokens},
                                 {"loss", step.loss},
                                 {"index_kl", step.index_kl},
                                 {"gradient_norm", step.gradient_norm},
                                 {"learning_rate", step.learning_rate},
                                 {"seconds", step.seconds},
                                 {"flops", step.flops}};
  if (!layer_kl_.empty()) line["index_kl_of_layer"] = layer_kl_;
  return log_->write(line);
}

Status TrainingRun::evaluate() {
  DSA_ASSIGN_OR_RETURN(const TrainEvaluation found, held_out_->measure(state_.step, model_.get()));
  DSA_RETURN_IF_ERROR(log_->write({{"type", "evaluation"},
                                   {"stage", config_.stage},
                                   {"step", found.step},
                                   {"loss", found.loss},
                                   {"recall", found.recall},
                                   {"mass", found.mass}}));
  if (hooks_.evaluation) hooks_.evaluation(found);
  return {};
}

Status TrainingRun::save() {
  auto saved = folder_.save(state_, *model_, *optimizer_);
  if (!saved.ok()) {
    return error(
        saved.status().code(), "{}; {}", saved.status().message(),
        checkpoint_.empty() ? "nothing was saved yet" : "the last checkpoint is " + checkpoint_);
  }
  checkpoint_ = *saved;
  if (hooks_.saved) hooks_.saved(checkpoint_);
  return {};
}

Result<TrainReport> TrainingRun::run() {
  announce();
  const auto due = [this](int64_t every) { return every > 0 && state_.step % every == 0; };
  const int64_t n_steps = config_.optimizer.steps;
  if (held_out_ != nullptr && state_.step == 0) DSA_RETURN_IF_ERROR(evaluate());
  bool go_on = true;
  while (go_on && state_.step < n_steps) {
    DSA_ASSIGN_OR_RETURN(const TrainStep done, step());
    DSA_RETURN_IF_ERROR(log_step(done));
    const bool last = state_.step == n_steps;
    if (held_out_ != nullptr && (last || due(config_.evaluate.every))) {
      DSA_RETURN_IF_ERROR(evaluate());
    }
    go_on = !hooks_.step || hooks_.step(done);
    if (last || !go_on || due(config_.checkpoint.every)) DSA_RETURN_IF_ERROR(save());
  }
  return TrainReport{checkpoint_, state_.step, state_.step == n_steps};
}

}  // namespace
}  // namespace dsa::trainer

namespace dsa {

Result<TrainReport> train(const TrainConfig& config, const TrainHooks& hooks) {
  DSA_ASSIGN_OR_RETURN(const std::unique_ptr<trainer::TrainingRun> run,
                       trainer::TrainingRun::create(config, hooks));
  return run->run();
}

}  // namespace dsa
