#include "backprop/train_model.h"

#include <algorithm>
#include <cmath>

#include "backprop/train_model_impl.h"
#include "common/status_macros.h"
#include "layers/rope.h"
#include "ops/context.h"

namespace dsa::backprop {

namespace {

constexpr int64_t kMaxTokens = int64_t{1} << 24;

Status check_options(const ModelConfig& config, const TrainModelOptions& options) {
  if (options.max_tokens < 1 || options.max_tokens > kMaxTokens) {
    return invalid_argument("max_tokens: {}, want 1 to {}", options.max_tokens, kMaxTokens);
  }
  if (options.top_k < 0) {
    return invalid_argument("top_k: {}, want at least 1, or 0 for the configuration's",
                            options.top_k);
  }
  if (!(options.init_std >= 0) || !std::isfinite(options.init_std)) {
    return invalid_argument("init_std: {}, want a finite value of at least 0", options.init_std);
  }
  if (config.indexer.layers.size() != static_cast<size_t>(config.n_layers)) {
    return invalid_argument("indexer.layers: {} entries, want one for each of {} layers",
                            config.indexer.layers.size(), config.n_layers);
  }
  if (config.q_lora_rank < 1 || config.indexer.n_heads < 1 || config.indexer.head_dim < 1) {
    return invalid_argument(
        "q_lora_rank, index_n_heads, index_head_dim: {}, {} and {}, want 1 or more",
        config.q_lora_rank, config.indexer.n_heads, config.indexer.head_dim);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<TrainModel>> TrainModel::Impl::make(const ModelConfig& config,
                                                           const TrainModelOptions& options,
                                                           const TensorSource* source,
                                                           ThreadPool* pool) {
  DSA_RETURN_IF_ERROR(check_options(config, options));
  auto impl = std::make_unique<Impl>();
  impl->config = config;
  impl->options = options;
  if (options.top_k == 0) impl->options.top_k = config.indexer.top_k;
  impl->dims = train_dims(impl->config, impl->options);
  DSA_ASSIGN_OR_RETURN(impl->context.kernels, select_kernels());
  impl->context.pool = pool;
  DSA_ASSIGN_OR_RETURN(impl->gemm_scratch,
                       AlignedBuffer::allocate(static_cast<size_t>(pool->n_threads()) *
                                                   kernels::kGemmScratch * sizeof(float),
                                               "scratch of products"));
  void* scratch = impl->gemm_scratch.data();
  impl->context.gemm_scratch = static_cast<float*>(scratch);
  DSA_ASSIGN_OR_RETURN(impl->parameters, ParameterSet::create(impl->config, impl->options, source));
  DSA_RETURN_IF_ERROR(impl->state.allocate(impl->config, impl->options, impl->dims, impl->context));
  impl->rope = rope_table(config.rope, impl->dims.d_rope);
  for (const LayerParameters& layer : impl->parameters->layers)
    impl->expert_counts.emplace_back(layer.experts.size(), 0);
  return std::unique_ptr<TrainModel>(new TrainModel(std::move(impl)));
}

Status TrainModel::Impl::check(const TrainBatch& batch) const {
  const auto n = static_cast<int64_t>(batch.tokens.size());
  if (n < 1 || n > options.max_tokens) {
    return invalid_argument("batch: {} tokens, want 1 to max_tokens = {}", n, options.max_tokens);
  }
  const auto outside = [this](int32_t token) { return token < 0 || token >= config.vocab_size; };
  const auto token = std::find_if(batch.tokens.begin(), batch.tokens.end(), outside);
  if (token != batch.tokens.end()) {
    return invalid_argument("batch: token {} is {}, want 0 to {}", token - batch.tokens.begin(),
                            *token, config.vocab_size - 1);
  }
  int64_t end = 0;
  for (const DocumentSpan& document : batch.documents) {
    if (document.begin != end || document.end <= document.begin || document.end > n) {
      return invalid_argument(
          "batch: document [{}, {}), want it to begin at {}, to hold a token and to end by {}",
          document.begin, document.end, end, n);
    }
    end = document.end;
  }
  if (end != n) return invalid_argument("batch: documents end at {}, want {}", end, n);
  if (!batch.targets.empty() && batch.targets.size() != batch.tokens.size()) {
    return invalid_argument("batch: {} targets, want {} or none", batch.targets.size(), n);
  }
  const auto target = std::find_if(batch.targets.begin(), batch.targets.end(),
                                   [&](int32_t value) { return value != -1 && outside(value); });
  if (target != batch.targets.end()) {
    return invalid_argument("batch: target {} is {}, want -1 to {}", target - batch.targets.begin(),
                            *target, config.vocab_size - 1);
  }
  for (const double scale : {batch.lm_scale, batch.index_scale}) {
    if (!(scale >= 0) || !std::isfinite(scale)) {
      return invalid_argument("batch: scale of a loss {}, want a finite value of at least 0",
                              scale);
    }
  }
  return {};
}

BatchLayout TrainModel::Impl::layout_of(const TrainBatch& batch) const {
  return {batch.tokens.size(), {batch.documents.begin(), batch.documents.end()}};
}

std::vector<int32_t> TrainModel::Impl::targets_of(const TrainBatch& batch) const {
  if (!batch.targets.empty()) return {batch.targets.begin(), batch.targets.end()};
  std::vector<int32_t> targets(batch.tokens.begin() + 1, batch.tokens.end());
  targets.push_back(-1);
  for (const DocumentSpan& document : batch.documents)
    targets[static_cast<size_t>(document.end - 1)] = -1;
  return targets;
}

TrainModel::TrainModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TrainModel::~TrainModel() = default;

Result<std::unique_ptr<TrainModel>> TrainModel::create(const ModelConfig& config,
                                                       const TrainModelOptions& options,
                                                       ThreadPool* pool) {
  return Impl::make(config, options, nullptr, pool);
}

Result<std::unique_ptr<TrainModel>> TrainModel::create(const ModelConfig& config,
                                                       const TrainModelOptions& options,
                                                       const TensorSource& source,
                                                       ThreadPool* pool) {
  return Impl::make(config, options, &source, pool);
}

const ModelConfig& TrainModel::config() const {
  return impl_->config;
}

const TrainModelOptions& TrainModel::options() const {
  return impl_->options;
}

int64_t TrainModel::memory_bytes() const {
  return impl_->parameters->memory_bytes() + static_cast<int64_t>(impl_->state.memory.size()) +
         static_cast<int64_t>(impl_->gemm_scratch.size());
}

std::span<const Parameter> TrainModel::parameters() const {
  return impl_->parameters->all();
}

const Parameter* TrainModel::find(std::string_view name) const {
  return impl_->parameters->find(name);
}

void TrainModel::zero_gradients() {
  impl_->parameters->zero_gradients();
}

void TrainModel::weights_changed() {
  impl_->parameters->round_weights();
}

Result<TrainLosses> TrainModel::forward_backward(const TrainBatch& batch) {
  DSA_RETURN_IF_ERROR(impl_->check(batch));
  return impl_->forward_backward(batch);
}

Result<EvalResult> TrainModel::evaluate(const TrainBatch& batch, const EvalOptions& options) {
  DSA_RETURN_IF_ERROR(impl_->check(batch));
  const int64_t top_k = options.top_k == 0 ? impl_->options.top_k : options.top_k;
  if (top_k < 1) return invalid_argument("top_k: {}, want at least 1", top_k);
  if (options.keep_first < 0 || options.keep_recent < 0 || options.keep_first > top_k ||
      options.keep_recent > top_k - options.keep_first) {
    return invalid_argument("keep_first, keep_recent: {} and {}, want them within top_k = {}",
                            options.keep_first, options.keep_recent, top_k);
  }
  if (options.index_heads < 0 || options.index_heads > impl_->config.indexer.n_heads) {
    return invalid_argument("index_heads: {}, want 0 to {}", options.index_heads,
                            impl_->config.indexer.n_heads);
  }
  EvalOptions resolved = options;
  resolved.top_k = top_k;
  return impl_->evaluate(batch, resolved);
}

std::span<const int64_t> TrainModel::expert_counts(int64_t layer) const {
  return impl_->expert_counts[static_cast<size_t>(layer)];
}

void TrainModel::zero_expert_counts() {
  for (std::vector<int64_t>& counts : impl_->expert_counts)
    std::fill(counts.begin(), counts.end(), 0);
}

double TrainLosses::index_kl() const {
  double sum = 0;
  for (const double layer : index_kl_sum)
    sum += layer;
  const auto n = static_cast<double>(n_queries * n_indexers);
  return n == 0 ? 0 : sum / n;
}

}  // namespace dsa::backprop
