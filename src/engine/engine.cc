#include "dsa/engine.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>

#include "common/status_macros.h"
#include "engine/engine_impl.h"
#include "layers/pool_options.h"
#include "model/model.h"
#include "ops/context.h"

namespace dsa {

namespace {

Status check_option(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid_argument("{}: {}, want {} to {}", name, value, low, high);
}

// Puts the defaults in place of zeros and checks the rest.
Result<EngineOptions> resolve(const ModelConfig& config, EngineOptions options) {
  constexpr int64_t kMaxTokens = int64_t{1} << 30;
  DSA_RETURN_IF_ERROR(
      check_option("page_tokens", options.page_tokens, kMinPageTokens, kMaxPageTokens));
  AttentionOptions& attention = options.attention;
  if (attention.top_k == 0) attention.top_k = config.indexer.top_k;
  DSA_RETURN_IF_ERROR(check_option("cache_tokens", options.cache_tokens, 1, kMaxTokens));
  DSA_RETURN_IF_ERROR(check_option("max_sequences", options.max_sequences, 1, 1 << 20));
  DSA_RETURN_IF_ERROR(check_option("max_batch_tokens", options.max_batch_tokens, 1, 1 << 16));
  DSA_RETURN_IF_ERROR(
      check_option("max_interleaved_tokens", options.max_interleaved_tokens, 0, 1 << 16));
  DSA_RETURN_IF_ERROR(check_option("n_threads", options.n_threads, 0, 4096));
  DSA_RETURN_IF_ERROR(check_option("top_k", attention.top_k, 1, kMaxTokens));
  DSA_RETURN_IF_ERROR(check_option("keep_first", attention.keep_first, 0, attention.top_k));
  DSA_RETURN_IF_ERROR(check_option("keep_recent", attention.keep_recent, 0,
                                   attention.top_k - attention.keep_first));
  if (attention.mode == AttentionMode::kWindow) {
    DSA_RETURN_IF_ERROR(check_option("window", attention.window, 1, kMaxTokens));
  }
  return options;
}

PassOptions pass_options(const EngineOptions& options, int64_t max_batch_tokens) {
  return {options.kv_cache, options.index_cache, max_batch_tokens, options.attention,
          options.page_tokens};
}

PagePoolOptions pool_options(const ModelConfig& config, const EngineOptions& options) {
  PagePoolOptions pool =
      pool_options(config, pass_options(options, options.max_batch_tokens), options.cache_tokens);
  pool.resident = options.resident_cache;
  return pool;
}

}  // namespace

Engine::Impl::Impl(std::shared_ptr<const Model> model_, const EngineOptions& options_)
    : model(std::move(model_)), options(options_), threads(options_.n_threads) {
  options.n_threads = threads.n_threads();
}

Status Engine::Impl::allocate() {
  DSA_RETURN_IF_ERROR(threads.status());
  const ModelConfig& config = model->config();
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  DSA_ASSIGN_OR_RETURN(pool, PagePool::create(pool_options(config, options)));
  for (const int64_t max_tokens : {options.max_batch_tokens, options.max_interleaved_tokens}) {
    if (max_tokens == 0) continue;
    DSA_ASSIGN_OR_RETURN(auto forward, ForwardPass::create(config, ModelInternals::weights(*model),
                                                           pass_options(options, max_tokens),
                                                           {table, &threads}, &*pool));
    passes.push_back(std::make_unique<Pass::State>(std::move(forward), max_tokens, &*pool));
  }
  sequences.resize(static_cast<size_t>(options.max_sequences));
  last_logits.resize(static_cast<size_t>(config.vocab_size));
  return {};
}

SequencePages* Engine::Impl::find(SequenceId id) {
  const bool known = id >= 0 && static_cast<size_t>(id) < sequences.size() &&
                     sequences[static_cast<size_t>(id)].has_value();
  return known ? &*sequences[static_cast<size_t>(id)] : nullptr;
}

Result<SequencePages*> Engine::Impl::find_idle(SequenceId id) {
  SequencePages* const sequence = find(id);
  if (sequence == nullptr) return not_found(id);
  if (is_computed(id)) {
    return invalid_argument("sequence {}: a pass that is under way computes it, want another", id);
  }
  return sequence;
}

Status Engine::Impl::not_found(SequenceId id) {
  return error(StatusCode::kNotFound, "sequence {}: there is no such sequence", id);
}

Result<SequenceId> Engine::Impl::add(SequencePages pages) {
  const auto free = std::find(sequences.begin(), sequences.end(), std::nullopt);
  if (free == sequences.end()) {
    return error(StatusCode::kResourceExhausted, "max_sequences: {} sequences exist, want one more",
                 sequences.size());
  }
  *free = std::move(pages);
  return static_cast<SequenceId>(free - sequences.begin());
}

Status Engine::Impl::check_step(const Step& step, size_t index) {
  DSA_RETURN_IF_ERROR(find_idle(step.sequence).status());
  if (step.tokens.empty()) {
    return invalid_argument("step {}: no tokens, want at least one", index);
  }
  const int64_t vocab = model->config().vocab_size;
  for (size_t i = 0; i < step.tokens.size(); ++i) {
    if (step.tokens[i] >= 0 && step.tokens[i] < vocab) continue;
    return invalid_argument("step {}: token {} is {}, want 0 to {}", index, i, step.tokens[i],
                            vocab - 1);
  }
  return {};
}

Result<Pass::State*> Engine::Impl::free_pass() {
  for (const std::unique_ptr<Pass::State>& pass : passes) {
    if (!pass->under_way()) return pass.get();
  }
  return invalid_argument("passes under way: {}, want at most {} with max_interleaved_tokens {}",
                          passes.size() + 1, passes.size(), options.max_interleaved_tokens);
}

Status Engine::Impl::check_batch(std::span<const Step> batch, const Pass::State& pass) {
  int64_t n_tokens = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    DSA_RETURN_IF_ERROR(check_step(batch[i], i));
    n_tokens += static_cast<int64_t>(batch[i].tokens.size());
  }
  if (n_tokens <= pass.max_tokens()) return {};
  const bool first = &pass == passes.front().get();
  return invalid_argument("batch: {} tokens, want at most {}{}", n_tokens, pass.max_tokens(),
                          first ? "" : " while another pass is under way");
}

bool Engine::Impl::is_computed(SequenceId id) const {
  return std::any_of(passes.begin(), passes.end(),
                     [id](const auto& pass) { return pass->computes(id); });
}

Status Engine::Impl::reserve(std::span<const Step> batch) {
  std::vector<Growth> growths(sequences.size());
  for (const Step& step : batch) {
    Growth& growth = growths[static_cast<size_t>(step.sequence)];
    growth.sequence = find(step.sequence);
    growth.n += static_cast<int64_t>(step.tokens.size());
  }
  std::erase_if(growths, [](const Growth& growth) { return growth.n == 0; });
  return dsa::reserve(&*pool, growths);
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const Model> model,
                                               const EngineOptions& options) {
  if (model == nullptr) return invalid_argument("model: null, want an open model");
  DSA_ASSIGN_OR_RETURN(const EngineOptions resolved, resolve(model->config(), options));
  auto impl = std::make_unique<Impl>(std::move(model), resolved);
  DSA_RETURN_IF_ERROR(impl->allocate());
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

const Model& Engine::model() const {
  return *impl_->model;
}
const EngineOptions& Engine::options() const {
  return impl_->options;
}

MemoryUse Engine::memory() const {
  MemoryUse use;
  use.weight_bytes = impl_->model->weight_bytes();
  use.latent_cache_bytes = impl_->pool->bytes_of(kLatentPlane);
  use.index_cache_bytes = impl_->pool->bytes_of(kIndexPlane);
  for (const auto& pass : impl_->passes)
    use.scratch_bytes += pass->scratch_bytes();
  use.n_pages = impl_->pool->numbers().n_pages();
  use.n_free_pages = impl_->pool->numbers().n_free();
  return use;
}

Result<SequenceId> Engine::create_sequence() {
  return impl_->add(SequencePages());
}

Result<SequenceId> Engine::fork_sequence(SequenceId source) {
  DSA_ASSIGN_OR_RETURN(const SequencePages* const sequence, impl_->find_idle(source));
  SequencePages copy = sequence->fork(&*impl_->pool);
  Result<SequenceId> id = impl_->add(copy);
  if (!id.ok()) copy.release(&*impl_->pool);
  return id;
}

Status Engine::release_sequence(SequenceId id) {
  DSA_ASSIGN_OR_RETURN(SequencePages* const sequence, impl_->find_idle(id));
  sequence->release(&*impl_->pool);
  impl_->sequences[static_cast<size_t>(id)].reset();
  return {};
}

Result<int64_t> Engine::sequence_length(SequenceId id) const {
  const SequencePages* sequence = impl_->find(id);
  if (sequence == nullptr) return Impl::not_found(id);
  return sequence->length();
}

Result<Pass> Engine::begin(std::span<const Step> batch, ForwardHooks hooks) {
  DSA_ASSIGN_OR_RETURN(Pass::State* const pass, impl_->free_pass());
  DSA_RETURN_IF_ERROR(impl_->check_batch(batch, *pass));
  DSA_RETURN_IF_ERROR(impl_->reserve(batch));
  std::vector<PlacedStep> steps;
  std::vector<SequenceId> ids;
  std::vector<SequencePages*> sequences;
  std::vector<int64_t> n_before(impl_->sequences.size(), 0);  // tokens of earlier steps
  for (const Step& step : batch) {
    SequencePages* const sequence = impl_->find(step.sequence);
    int64_t& before = n_before[static_cast<size_t>(step.sequence)];
    steps.push_back({step.tokens, sequence->length() + before, sequence->pages(), step.logits,
                     step.hidden, step.selections});
    ids.push_back(step.sequence);
    sequences.push_back(sequence);
    before += static_cast<int64_t>(step.tokens.size());
  }
  return Pass(pass, pass->begin(steps, ids, sequences, std::move(hooks)));
}

Status Engine::forward(std::span<const Step> batch, const ForwardHooks& hooks) {
  DSA_ASSIGN_OR_RETURN(Pass pass, begin(batch, hooks));
  while (pass.advance()) {
  }
  return {};
}

Status Engine::prefill(SequenceId sequence,
                       std::span<const int32_t> tokens,
                       const ForwardHooks& hooks,
                       RowsWanted logits,
                       const std::function<bool(int64_t, int64_t)>& progress) {
  DSA_ASSIGN_OR_RETURN(const SequencePages* const pages, impl_->find_idle(sequence));
  const auto total = static_cast<int64_t>(tokens.size());
  // All chunks or none: what the last one would lack is refused before the first runs.
  const int64_t needed = pages->pages_needed(*impl_->pool, total);
  const PageNumbers& numbers = impl_->pool->numbers();
  if (needed > numbers.n_free()) {
    return error(StatusCode::kResourceExhausted,
                 "page pool: {} pages of {} tokens free of {}, {} tokens want {} more",
                 numbers.n_free(), impl_->options.page_tokens, numbers.n_pages(), total, needed);
  }
  DSA_RETURN_IF_ERROR(impl_->check_step({sequence, tokens, logits}, 0));
  const auto chunk = static_cast<size_t>(impl_->options.max_batch_tokens);
  for (size_t first = 0; first < tokens.size(); first += chunk) {
    const size_t count = std::min(chunk, tokens.size() - first);
    const bool last = first + count == tokens.size();
    const RowsWanted wanted = logits == RowsWanted::kLast && !last ? RowsWanted::kNone : logits;
    const Step step = {sequence, tokens.subspan(first, count), wanted};
    DSA_RETURN_IF_ERROR(forward({&step, 1}, hooks));
    const auto done = static_cast<int64_t>(first + count);
    if (progress && !progress(done, total)) return {};
  }
  return {};
}

Result<std::span<const float>> Engine::decode(SequenceId sequence,
                                              int32_t token,
                                              const ForwardHooks& hooks) {
  ForwardHooks with_copy = hooks;
  with_copy.logits = [this, &hooks](const LogitsRow& row) {
    if (hooks.logits) hooks.logits(row);
    std::copy(row.logits.begin(), row.logits.end(), impl_->last_logits.begin());
  };
  const Step step = {sequence, {&token, 1}, RowsWanted::kLast};
  DSA_RETURN_IF_ERROR(forward({&step, 1}, with_copy));
  return std::span<const float>(impl_->last_logits);
}

CacheEstimate estimate_cache(const ModelConfig& config, const EngineOptions& options) {
  const PassOptions pass = pass_options(options, options.max_batch_tokens);
  const PagePoolOptions pool = pool_options(config, pass, options.cache_tokens);
  CacheEstimate estimate;
  estimate.latent_bytes_per_token_layer =
      static_cast<int64_t>(latent_layout(config, pass).row_bytes());
  estimate.index_bytes_per_token_layer =
      static_cast<int64_t>(index_layout(config, pass).entry_bytes());
  const auto total = [&pool](const char* name) {
    return static_cast<int64_t>(page_bytes_of(pool.planes, name)) * pool.n_pages;
  };
  estimate.latent_bytes = total(kLatentPlane);
  estimate.index_bytes = total(kIndexPlane);
  return estimate;
}

}  // namespace dsa
