#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>

#include "dsa_measure/bench.h"

#include "common/status_macros.h"
#include "layers/forward_pass.h"
#include "layers/mla_dsa.h"
#include "layers/pool_options.h"
#include "layers/residual.h"
#include "layers/selection.h"
#include "measure/layer_cost.h"
#include "measure/machine.h"
#include "measure/random_cache.h"
#include "measure/timing.h"
#include "measure/weight_type.h"
#include "model/random_source.h"

namespace dsa {

namespace {

// How much of its hidden state a token shares with the one before: gives neighbouring queries at
// 131,072 tokens about the overlap of selections that trained models show (0.72 to 0.84).
constexpr float kDrift = 0.98F;

constexpr Part kParts[] = {Part::kProjections, Part::kIndexer, Part::kSelection, Part::kAttention,
                           Part::kOutput};

// Hidden states of consecutive tokens.
class HiddenStates {
 public:
  explicit HiddenStates(size_t width) : state_(normal_values(width, 11)) {}

  void next(float* row) {
    const float fresh = std::sqrt(1 - kDrift * kDrift);
    for (size_t i = 0; i < state_.size(); ++i) {
      state_[i] = kDrift * state_[i] + fresh * normal_(random_);
      row[i] = state_[i];
    }
  }

 private:
  std::vector<float> state_;
  std::mt19937 random_{13};
  std::normal_distribution<float> normal_;
};

// Share of the entries of a that b has too; both ascending.
double overlap_of(std::span<const int32_t> a, std::span<const int32_t> b) {
  std::vector<int32_t> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return static_cast<double>(common.size()) / static_cast<double>(a.size());
}

// One mode's attention with its scratch.
struct Block {
  Residual residual;
  MlaDsaBlock attention;
  Selection selection;
  AlignedBuffer scratch;
  std::vector<int32_t> tokens;
  PlacedStep step;
};

}  // namespace

struct LayerBench::Impl {
  ModelConfig shape;
  LayerBenchOptions options;
  ThreadPool threads;
  PartClock clock;
  OpContext context;
  std::unique_ptr<RandomSource> source;
  LayerWeights layer;
  std::deque<std::vector<float>> scales;
  std::optional<PagePool> pool;
  std::vector<int32_t> pages;
  std::map<AttentionMode, std::unique_ptr<Block>> blocks;
  std::optional<Yardsticks> yardsticks;

  Impl(const ModelConfig& shape_, const LayerBenchOptions& options_)
      : shape(shape_), options(options_), threads(options_.n_threads) {
    options.n_threads = threads.n_threads();
    shape.n_layers = 1;
    shape.indexer.layers = {IndexerKind::kFull};
    shape.fp8_weights = options.weights == BenchWeights::kFp8;
  }

  Status create() {
    DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
    context = {table, &threads, &clock};
    source = std::make_unique<RandomSource>(dtype_of(options.weights), 1);
    LoadedWeights loaded = load_attention(shape, *source, 0);
    if (!loaded.problems.empty()) return loaded.problems.front();
    layer = std::move(loaded.weights.layers.front());
    scales = std::move(loaded.weights.scales);
    const PassOptions pass = pass_options(AttentionMode::kDsa);
    DSA_ASSIGN_OR_RETURN(pool, PagePool::create(pool_options(shape, pass, options.max_context)));
    DSA_RETURN_IF_ERROR(pool->numbers().acquire(pool->numbers().n_pages(), &pages));
    fill_cache(context, layer_cache(shape, pass, *pool, 0, pages), options.max_context);
    return {};
  }

  PassOptions pass_options(AttentionMode mode) const {
    PassOptions pass;
    pass.kv_cache = options.kv_cache;
    pass.index_cache = options.index_cache;
    pass.max_batch_tokens = options.prefill_tokens;
    pass.attention.mode = mode;
    pass.attention.top_k = shape.indexer.top_k;
    return pass;
  }

  Result<Block*> block_of(AttentionMode mode) {
    std::unique_ptr<Block>& block = blocks[mode];
    if (block != nullptr) return block.get();
    const PassOptions pass = pass_options(mode);
    const OpContext products = product_context(context, pass);
    const Twins twins = read_by(products, layer);
    const auto width = static_cast<size_t>(shape.hidden_size);
    auto made = std::make_unique<Block>(
        Block{Residual(products, width, static_cast<float>(shape.rms_norm_eps), twins),
              MlaDsaBlock(shape, pass, products, &*pool, twins),
              Selection(pass, static_cast<size_t>(pool->n_tokens())),
              {},
              {},
              {}});
    const auto rows = static_cast<size_t>(options.prefill_tokens);
    ScratchPlan plan;
    made->residual.plan(&plan, rows);
    made->attention.plan(&plan);
    made->selection.plan(&plan, rows);
    DSA_ASSIGN_OR_RETURN(made->scratch, plan.allocate("scratch of attention"));
    block = std::move(made);
    return block.get();
  }

  // Runs the step whose last token ends a context of `length` tokens.
  void run(Block* block, HiddenStates* states, int64_t n_tokens, int64_t length) {
    for (int64_t i = 0; i < n_tokens; ++i)
      states->next(block->residual.row(static_cast<size_t>(i)));
    block->tokens.resize(static_cast<size_t>(n_tokens));
    block->step = {block->tokens, length - n_tokens, pages};
    const std::span<const PlacedStep> steps(&block->step, 1);
    clock.reset();
    block->residual.begin(block->tokens.size());
    block->attention.begin(steps);
    block->selection.begin(steps, false);
    clock.enter(Part::kProjections);  // the norm before them counts as theirs
    const Activation x =
        block->residual.read(layer.input_norm, block->attention.input_twins(layer));
    block->attention.run(0, layer, x, &block->selection, block->residual.output());
    block->residual.add();
  }

  // Of the selections of neighbouring queries; decode steps one token at a time.
  double measure_overlap(Block* block, HiddenStates* states, int64_t n_tokens, int64_t length) {
    std::vector<int32_t> previous;
    std::vector<double> overlaps;
    constexpr int64_t kSteps = 4;
    for (int64_t step = 0; step < (n_tokens > 1 ? 1 : kSteps); ++step) {
      run(block, states, n_tokens, length);
      for (size_t i = 0; i < static_cast<size_t>(n_tokens); ++i) {
        const std::span<const int32_t> positions = block->selection.row(0, i, 0).positions;
        if (!previous.empty()) overlaps.push_back(overlap_of(positions, previous));
        previous.assign(positions.begin(), positions.end());
      }
    }
    double sum = 0;
    for (const double overlap : overlaps)
      sum += overlap;
    return overlaps.empty() ? 0 : sum / static_cast<double>(overlaps.size());
  }
};

LayerBench::LayerBench(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LayerBench::~LayerBench() = default;

Result<std::unique_ptr<LayerBench>> LayerBench::create(const ModelConfig& shape,
                                                       const LayerBenchOptions& options) {
  if (options.max_context < 1 || options.prefill_tokens < 1 || options.repetitions < 1) {
    return invalid_argument(
        "bench: max_context {}, prefill_tokens {}, repetitions {}; want 1 or more of each",
        options.max_context, options.prefill_tokens, options.repetitions);
  }
  auto impl = std::make_unique<Impl>(shape, options);
  DSA_RETURN_IF_ERROR(impl->create());
  return std::unique_ptr<LayerBench>(new LayerBench(std::move(impl)));
}

Result<LayerMeasure> LayerBench::measure(BenchPhase phase,
                                         AttentionMode attention,
                                         int64_t context) {
  Impl& impl = *impl_;
  if (context < 1 || context > impl.options.max_context) {
    return invalid_argument("context: {}, want 1 to {}", context, impl.options.max_context);
  }
  DSA_ASSIGN_OR_RETURN(Block* const block, impl.block_of(attention));
  LayerMeasure measure;
  measure.phase = phase;
  measure.attention = attention;
  measure.context = context;
  measure.step_tokens =
      phase == BenchPhase::kDecode ? 1 : std::min(impl.options.prefill_tokens, context);
  measure.sparse = attention == AttentionMode::kDsa && context > impl.shape.indexer.top_k;
  measure.int8_first =
      measure.sparse && block->attention.scores_in_int8_first(context - measure.step_tokens);

  HiddenStates states(static_cast<size_t>(impl.shape.hidden_size));
  std::array<std::vector<double>, std::size(kParts)> part_seconds;
  std::vector<double> seconds;
  const double n = static_cast<double>(measure.step_tokens);
  if (measure.sparse) {
    measure.overlap = impl.measure_overlap(block, &states, measure.step_tokens, context);
  } else {
    impl.run(block, &states, measure.step_tokens, context);
  }
  DSA_ASSIGN_OR_RETURN(impl.yardsticks, Yardsticks::create(*impl.context.kernels, &impl.threads));
  constexpr double kLeastSeconds = 0.3;
  double total = 0;
  while (static_cast<int>(seconds.size()) < impl.options.repetitions || total < kLeastSeconds) {
    impl.run(block, &states, measure.step_tokens, context);
    double sum = 0;
    for (size_t p = 0; p < std::size(kParts); ++p) {
      const double part = impl.clock.seconds(kParts[p]);
      part_seconds[p].push_back(part / n);
      sum += part;
    }
    seconds.push_back(sum / n);
    total += sum;
    impl.yardsticks->sample();
  }
  const LayerStep step = {&impl.shape,         impl.options,   attention,         context,
                          measure.step_tokens, measure.sparse, measure.int8_first};
  measure.parts = layer_cost(step, impl.yardsticks->limits(50));
  measure.ms_per_token = timing_of(std::move(seconds));
  for (size_t p = 0; p < std::size(kParts); ++p)
    measure.parts[p].ms = timing_of(std::move(part_seconds[p])).median;
  const PassOptions pass = impl.pass_options(AttentionMode::kDsa);
  measure.cache_bytes =
      context * static_cast<int64_t>(latent_layout(impl.shape, pass).row_bytes() +
                                     index_layout(impl.shape, pass).entry_bytes());
  measure.scratch_bytes = static_cast<int64_t>(block->scratch.size());
  return measure;
}

}  // namespace dsa
