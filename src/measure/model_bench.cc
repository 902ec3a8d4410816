#include <optional>
#include <random>

#include "dsa/forward.h"
#include "dsa/model.h"
#include "dsa/thread_pool.h"
#include "dsa_measure/bench.h"

#include "common/status_macros.h"
#include "layers/forward_pass.h"
#include "layers/pool_options.h"
#include "measure/random_cache.h"
#include "measure/timing.h"
#include "measure/weight_type.h"
#include "model/model.h"
#include "model/random_source.h"

namespace dsa {

struct ModelBench::Impl {
  std::shared_ptr<const Model> model;
  ModelBenchOptions options;
  ThreadPool threads;
  std::optional<PagePool> pool;
  std::vector<int32_t> pages;
  std::unique_ptr<ForwardPass> forward;
  std::mt19937 random{17};
  float sink = 0;  // takes a logit of every step

  Impl(std::shared_ptr<const Model> model_, const ModelBenchOptions& options_)
      : model(std::move(model_)), options(options_), threads(options_.n_threads) {}

  Status create() {
    const ModelConfig& config = model->config();
    DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
    const OpContext context = {table, &threads};
    PassOptions pass;
    pass.kv_cache = options.kv_cache;
    pass.index_cache = options.index_cache;
    pass.max_batch_tokens = options.prefill_tokens;
    pass.attention.mode = options.attention;
    pass.attention.top_k = config.indexer.top_k;
    DSA_ASSIGN_OR_RETURN(pool, PagePool::create(pool_options(config, pass, options.max_context)));
    DSA_RETURN_IF_ERROR(pool->numbers().acquire(pool->numbers().n_pages(), &pages));
    for (int64_t layer = 0; layer < config.n_layers; ++layer)
      fill_cache(context, layer_cache(config, pass, *pool, layer, pages), options.max_context);
    DSA_ASSIGN_OR_RETURN(forward, ForwardPass::create(config, ModelInternals::weights(*model), pass,
                                                      context, &*pool));
    return {};
  }

  void run(int64_t n_tokens, int64_t length) {
    std::uniform_int_distribution<int32_t> token(
        0, static_cast<int32_t>(model->config().vocab_size - 1));
    std::vector<int32_t> tokens(static_cast<size_t>(n_tokens));
    for (int32_t& id : tokens)
      id = token(random);
    const PlacedStep step = {tokens, length - n_tokens, pages, RowsWanted::kLast};
    ForwardHooks hooks;
    hooks.logits = [this](const LogitsRow& row) { sink += row.logits.front(); };
    forward->begin({&step, 1}, hooks);
    while (forward->advance()) {
    }
  }
};

ModelBench::ModelBench(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ModelBench::~ModelBench() = default;

Result<std::unique_ptr<ModelBench>> ModelBench::create(std::shared_ptr<const Model> model,
                                                       const ModelBenchOptions& options) {
  if (options.max_context < 1 || options.prefill_tokens < 1 || options.repetitions < 1) {
    return invalid_argument(
        "bench: max_context {}, prefill_tokens {}, repetitions {}; want 1 or more of each",
        options.max_context, options.prefill_tokens, options.repetitions);
  }
  auto impl = std::make_unique<Impl>(std::move(model), options);
  DSA_RETURN_IF_ERROR(impl->create());
  return std::unique_ptr<ModelBench>(new ModelBench(std::move(impl)));
}

Result<Timing> ModelBench::measure(BenchPhase phase, int64_t context) {
  if (context < 1 || context > impl_->options.max_context) {
    return invalid_argument("context: {}, want 1 to {}", context, impl_->options.max_context);
  }
  const int64_t n_tokens =
      phase == BenchPhase::kDecode ? 1 : std::min(impl_->options.prefill_tokens, context);
  Timing timing =
      time_repeatedly(impl_->options.repetitions, [&] { impl_->run(n_tokens, context); });
  for (double* ms : {&timing.median, &timing.low, &timing.high})
    *ms /= static_cast<double>(n_tokens);
  return timing;
}

int64_t ModelBench::cache_bytes() const {
  return impl_->pool->bytes_of(kLatentPlane) + impl_->pool->bytes_of(kIndexPlane);
}
int64_t ModelBench::scratch_bytes() const {
  return impl_->forward->scratch_bytes();
}

Result<std::shared_ptr<const Model>> random_model(const ModelConfig& shape, BenchWeights weights) {
  ModelConfig config = shape;
  config.fp8_weights = weights == BenchWeights::kFp8;
  return ModelInternals::make(std::move(config),
                              std::make_unique<RandomSource>(dtype_of(weights), 1));
}

}  // namespace dsa
