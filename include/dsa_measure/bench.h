// Benchmarks: the limits of this machine, and what the library reaches, compared with them. They
// run the same code as models do.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dsa/model.h"
#include "dsa/model_config.h"
#include "dsa/status.h"
#include "dsa/types.h"

namespace dsa {

// What the machine can do at most, all threads together.
struct MachineLimits {
  std::string cpu;
  std::string tier;  // kernels whose instructions were measured
  int n_threads = 0;
  double f32_flops = 0;     // per second; a multiply-add counts as two
  double bf16_flops = 0;    // where the tier has no bf16 dot product: f32_flops
  double int8_ops = 0;      // likewise
  double read_bytes = 0;    // per second, streamed from memory
  double gather_bytes = 0;  // per second, rows of 656 bytes at random places in memory
};

//   Errors  kUnsupported: DSA_CPU_TIER; kResourceExhausted: no memory for the table.
Result<MachineLimits> measure_machine(int n_threads);

// Of repeated runs, in milliseconds.
struct Timing {
  double median = 0;
  double low = 0;   // 10th percentile
  double high = 0;  // 90th
  int n = 0;
};

enum class BenchPhase : uint8_t { kDecode, kPrefill };
enum class BenchWeights : uint8_t { kF32, kBF16, kFp8 };

// The configuration of a published model by name: "v32" (DeepSeek-V3.2), "glm5" (GLM-5).
//   Errors  kNotFound: another name.
Result<ModelConfig> published_shape(const std::string& name);

struct LayerBenchOptions {
  CacheFormat kv_cache = CacheFormat::kFp8;
  CacheFormat index_cache = CacheFormat::kFp8;
  BenchWeights weights = BenchWeights::kFp8;
  int64_t max_context = 4096;    // the longest that will be measured
  int64_t prefill_tokens = 128;  // tokens of a measured prefill step
  int n_threads = 0;             // <= 0: as many as can run at the same time
  int repetitions = 10;          // at least; short steps run more often
};

// One part of an attention layer's work, per token.
struct PartMeasure {
  const char* name = "";
  double ms = 0;
  double flops = 0;
  double bytes = 0;     // read from memory, weights shared by the tokens of a step
  double limit_ms = 0;  // max(flops / peak, bytes / bandwidth)
};

struct LayerMeasure {
  BenchPhase phase = BenchPhase::kDecode;
  AttentionMode attention = AttentionMode::kDsa;
  int64_t context = 0;
  int64_t step_tokens = 0;
  bool sparse = false;      // false: every token was selected, the dense path ran
  bool int8_first = false;  // most keys were only estimated in int8; limits count them so
  Timing ms_per_token;
  std::array<PartMeasure, 5> parts;  // projections, indexer, selection, attention, output
  double overlap = 0;                // of the selections of neighbouring queries; 0 when not sparse
  int64_t cache_bytes = 0;           // of the tokens of the context
  int64_t scratch_bytes = 0;

  double flops() const;
  double bytes() const;
  double limit_ms() const;
  double efficiency() const { return limit_ms() / ms_per_token.median; }
};

// One attention layer with random weights over random caches. Steps follow each other as in text:
// hidden states drift slowly, so that neighbouring queries select mostly the same tokens.
class LayerBench {
 public:
  //   Errors  kInvalidArgument, kUnsupported (DSA_CPU_TIER), kResourceExhausted.
  static Result<std::unique_ptr<LayerBench>> create(const ModelConfig& shape,
                                                    const LayerBenchOptions& options);
  ~LayerBench();

  // The last tokens of a context of `context` tokens: one (decode) or a step (prefill).
  // attention: kDsa or kDense. Limits are measured interleaved with the steps; both are medians.
  Result<LayerMeasure> measure(BenchPhase phase, AttentionMode attention, int64_t context);

 private:
  struct Impl;
  explicit LayerBench(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A model of any shape without a file.
//   Errors  kResourceExhausted: no memory for its weights.
Result<std::shared_ptr<const Model>> random_model(const ModelConfig& shape, BenchWeights weights);

struct ModelBenchOptions {
  CacheFormat kv_cache = CacheFormat::kFp8;
  CacheFormat index_cache = CacheFormat::kFp8;
  AttentionMode attention = AttentionMode::kDsa;  // kDsa or kDense
  int64_t max_context = 4096;                     // the longest that will be measured
  int64_t prefill_tokens = 128;                   // tokens of a measured prefill step
  int n_threads = 0;                              // <= 0: as many as can run at the same time
  int repetitions = 10;                           // at least
};

// A whole model over random caches: layers, experts, logits.
class ModelBench {
 public:
  //   Errors  kInvalidArgument, kUnsupported (DSA_CPU_TIER), kResourceExhausted.
  static Result<std::unique_ptr<ModelBench>> create(std::shared_ptr<const Model> model,
                                                    const ModelBenchOptions& options);
  ~ModelBench();

  // Per token, of a step whose last token ends a context of `context` tokens.
  Result<Timing> measure(BenchPhase phase, int64_t context);

  int64_t cache_bytes() const;  // of the whole pool
  int64_t scratch_bytes() const;

 private:
  struct Impl;
  explicit ModelBench(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct KernelMeasure {
  std::string kernel;  // with its format, e.g. "indexer scores fp8"
  std::string shape;
  std::string tier;
  int n_threads = 0;
  Timing ms;
  double limit_ms = 0;
  const char* bound = "";  // which limit: "flops", "int8" or "bytes"
  // Share of the best 2,048 keys by exact fp8 scores that this kernel's scores find; 1 except for
  // int8 estimates, which never decide a selection.
  double recall = 1;

  double efficiency() const { return limit_ms / ms.median; }
};

struct KernelBenchOptions {
  std::string tier;  // empty: each that this CPU runs
  std::string only;  // kernels whose name contains this; empty: all
  std::vector<int> threads;
  int repetitions = 10;
};

// Kernels at DeepSeek-V3.2's shape, against the limits measured for their tier and number of
// threads, interleaved with them. done: called after each; returning false ends the run.
//   Errors  kUnsupported: no such tier here; kNotFound: no kernel has such a name.
Status bench_kernels(const KernelBenchOptions& options,
                     const std::function<bool(const KernelMeasure&)>& done);

}  // namespace dsa
