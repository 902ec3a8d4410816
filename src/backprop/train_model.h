// The differentiable model: everything between token ids and gradients.
//
//   auto model = TrainModel::create(config, {.stage = TrainStage::kPretrain, .max_tokens = 4096},
//                                   &pool);
//   (*model)->zero_gradients();
//   auto losses = (*model)->forward_backward(batch);     // adds to every Parameter::gradient
//   // ... change Parameter::value, then:
//   (*model)->weights_changed();
//
// Parameters have the names and shapes of a Hugging Face checkpoint, so that one can be written or
// read by name (src/model/tensor_table.h has the list).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/model_config.h"
#include "dsa/status.h"
#include "dsa/thread_pool.h"

#include "formats/dtype.h"
#include "io/tensor_source.h"

namespace dsa::backprop {

enum class TrainStage : uint8_t {
  kPretrain,  // dense attention, language-model loss; indexers do not run and stay as they are
  kWarmup,    // the indexers alone learn: per query KL(p || softmax(index scores)), p the mean over
              // heads of the dense attention; everything else is frozen and read in place
  kSparse  // attention over the rows the indexer selects; the model learns from the language-model
           // loss alone, the indexer from its KL on the selected rows alone (inputs detached)
};

enum class ParameterRole : uint8_t {
  kMatrix,     // weight decay may apply
  kVector,     // norms and biases
  kRouterBias  // has no gradient in any stage: a trainer moves it by expert_counts()
};

struct Parameter {
  std::string name;  // e.g. "model.layers.0.self_attn.q_a_proj.weight"
  std::vector<int64_t> shape;
  size_t size = 0;  // elements
  ParameterRole role = ParameterRole::kMatrix;
  bool of_indexer = false;
  int64_t layer = -1;  // -1: embedding, final norm, head

  // What the model computes with, [size], row-major; always there. Frozen: where the source has it.
  DType dtype = DType::kF32;  // F32, F16 or BF16
  const void* data = nullptr;

  float* value = nullptr;     // [size] what a trainer may change; null: frozen and read in place
  float* gradient = nullptr;  // [size] null: this stage does not train it by gradient
};

struct TrainModelOptions {
  TrainStage stage = TrainStage::kPretrain;
  int64_t max_tokens = 4096;  // of one batch; memory is linear in it
  int64_t top_k = 0;          // rows selected per query in kSparse; 0: the configuration's
  uint64_t seed = 1;          // of parameters that do not come from a source
  double init_std = 0.02;  // of matrices; those that write to the residual stream: / sqrt(2 layers)
  // With a source: indexers are made from the seed even if the source has them; those that the
  // source lacks are made anyway.
  bool new_indexers = false;
  // Trained matrices are computed with as bf16, rounded from the f32 values by weights_changed().
  bool bf16_weights = false;
  // Keep only the residual stream and the attention's results of a layer, and compute the rest
  // again on the way back: several times less memory for a little more time.
  bool recompute = false;
};

struct DocumentSpan {
  int64_t begin = 0;  // tokens [begin, end) of the batch; positions count from begin
  int64_t end = 0;
};

// Packed documents; attention never crosses a boundary.
struct TrainBatch {
  std::span<const int32_t> tokens;          // [n], 1 <= n <= max_tokens
  std::span<const DocumentSpan> documents;  // ascending, without gap, covering all tokens
  // [n] what each token should predict, -1: nothing. Empty: the next token of its document.
  std::span<const int32_t> targets = {};
  // Gradients are those of
  //   lm_scale * (sum over targets of cross-entropy) + index_scale * (sum over queries, layers of
  //   KL)
  // 0: one over the number of targets, one over the number of tokens. A trainer that accumulates
  // batches of unequal size gives one over the totals.
  double lm_scale = 0;
  double index_scale = 0;
};

struct TrainLosses {
  int64_t n_targets = 0;
  double lm_sum = 0;   // of the cross-entropy, natural logarithm, over targets
  bool has_lm = true;  // false in kWarmup: the head does not run
  int64_t n_queries = 0;
  std::vector<double> index_kl_sum;  // [n_layers] over queries; empty in kPretrain; 0: no indexer

  double lm() const { return n_targets == 0 ? 0 : lm_sum / static_cast<double>(n_targets); }
  // Mean over queries and over the layers that have an indexer.
  double index_kl() const;
  int64_t n_indexers = 0;
};

// What the queries of an evaluation attend to.
enum class EvalSelection : uint8_t {
  kDense,
  kDsa,     // the indexer's top_k
  kWindow,  // the top_k most recent
  kRandom,  // top_k drawn without replacement, the query's own among them
  kOracle   // the top_k of the head-summed dense attention
};

// Precision the index keys and queries are rounded to before they are multiplied.
enum class EvalIndexFormat : uint8_t { kF32, kFp8, kInt8 };

struct EvalOptions {
  EvalSelection selection = EvalSelection::kDense;
  int64_t top_k = 0;        // 0: as the model was made
  int64_t keep_first = 0;   // kDsa: always selected, inside the budget
  int64_t keep_recent = 0;  // kDsa: the same for the most recent
  int64_t index_heads = 0;  // kDsa: score with the first so many heads; 0: all
  EvalIndexFormat index_format = EvalIndexFormat::kF32;
  uint64_t seed = 1;  // kRandom
  // Also compute dense attention in addition to the selection (on the same activations), for mass
  // and recall. Quadratic in a document's length.
  bool coverage = false;
};

struct EvalResult {
  std::vector<float> token_loss;  // [n] cross-entropy of each target; NaN where there is none
  std::vector<int32_t> best;      // [n] the most probable next token
  // With coverage, [n_layers * n], layer by layer; empty without:
  std::vector<float> mass;    // share of the head-mean dense attention on the selected rows
  std::vector<float> recall;  // share of the dense attention's top_k that was selected
};

// Thread safety   one thread at a time; work is split over the pool given to create().
// Invariants
//   1. All memory that grows with tokens is allocated by create().
//   2. The same calls with the same number of threads give the same bits.
//   3. A call that fails has changed no gradient.
class TrainModel {
 public:
  // All parameters from the seed.   config: as parse_model_config() gives it, with an indexer and a
  // low-rank query. (A query projected straight from the normed input x = z * w, z of unit root
  // mean square, is the low-rank one with q_a = diag(1 / w), q_a_layernorm = w and q_b = q_proj.)
  //   Errors  kInvalidArgument (an option), kUnsupported (DSA_CPU_TIER), kResourceExhausted.
  static Result<std::unique_ptr<TrainModel>> create(const ModelConfig& config,
                                                    const TrainModelOptions& options,
                                                    ThreadPool* pool);

  // Parameters from `source`, which must outlive the model: those that the stage freezes are read
  // in place and have no `value`; the others are copied to f32.
  //   Errors  also those of TensorSource::require (fp8 tensors: convert them first).
  static Result<std::unique_ptr<TrainModel>> create(const ModelConfig& config,
                                                    const TrainModelOptions& options,
                                                    const TensorSource& source,
                                                    ThreadPool* pool);
  ~TrainModel();

  const ModelConfig& config() const;
  const TrainModelOptions& options() const;  // resolved: top_k is set
  int64_t memory_bytes() const;              // parameters, gradients, activations, scratch

  // Every tensor of the checkpoint, in an order that depends on the configuration alone.
  std::span<const Parameter> parameters() const;
  const Parameter* find(std::string_view name) const;  // null: none

  void zero_gradients();
  // To be called after Parameter::value was written.
  void weights_changed();

  // Adds the batch's gradients to the parameters', and to the expert counts.
  //   Errors  kInvalidArgument: batch (what, got, want).
  Result<TrainLosses> forward_backward(const TrainBatch& batch);

  // No gradients.   Errors  as forward_backward(); kInvalidArgument: an option.
  Result<EvalResult> evaluate(const TrainBatch& batch, const EvalOptions& options);

  // Tokens that chose each expert of a layer since zero_expert_counts(); empty: not a mixture.
  std::span<const int64_t> expert_counts(int64_t layer) const;
  void zero_expert_counts();

  // Multiply-adds times two that a step of one document of n tokens needs in this stage: products
  // with parameters, attention, indexer; forward and backward, nothing computed twice counted.
  double step_flops(int64_t n_tokens) const;

 private:
  struct Impl;
  explicit TrainModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsa::backprop
