// Converts checkpoints (type of the weights, number of files) and writes checkpoints of random
// weights of any shape.
//
// Output goes to a new folder that appears complete or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dsa/model_config.h"
#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

// How matrices are stored. Vectors (norms, biases) keep their type.
//   kFp8   matrices of linear layers as e4m3 with a scale per 128 x 128 block, DeepSeek's layout;
//          embedding, output matrix, router and indexer head weights as bf16
enum class WeightType : uint8_t { kF32, kBF16, kFp8 };

const char* weight_type_name(WeightType type);  // "f32", "bf16", "fp8"

struct ConvertOptions {
  WeightType type = WeightType::kBF16;
  int64_t shard_bytes = 5'000'000'000;  // largest file, unless a single tensor is larger
};

// Rounding error of the tensors of one kind, e.g. "self_attn.q_b_proj" over all layers.
struct ConvertError {
  std::string tensors;
  int64_t n_tensors = 0;
  int64_t n_values = 0;
  double largest = 0;   // |new - old|
  double relative = 0;  // root of sum (new - old)^2 / sum old^2; 0 where nothing changed
};

struct ConvertReport {
  std::vector<ConvertError> errors;  // by name
  int64_t bytes_before = 0;          // of tensors
  int64_t bytes_after = 0;
  int64_t n_files = 0;
};

// Reads a checkpoint (one file or shards, weights in F32, F16, BF16 or e4m3 with block scales) and
// writes it to `out` together with its other files; config.json names the new type.
// progress(bytes done, bytes) may be null; when it returns false, nothing is left behind.
//   Errors  kNotFound, kIoError, kCorruption, kUnsupported: file, tensor; kInvalidArgument: `out`
//           exists; an option; kCancelled: progress gave false
Result<ConvertReport> convert_checkpoint(
    const std::string& in,
    const std::string& out,
    const ConvertOptions& options,
    const std::function<bool(int64_t, int64_t)>& progress = nullptr);

struct RandomCheckpointOptions {
  WeightType type = WeightType::kBF16;
  int64_t shard_bytes = 5'000'000'000;
  uint64_t seed = 1;
  std::string tokenizer;  // folder whose tokenizer files are copied; "": one token per byte
};

// Writes random weights of that shape: normal values times (columns)^-0.5.
//   Errors  as convert_checkpoint(); kInvalidArgument: fewer ids than the tokenizer has
Status write_random_checkpoint(const ModelConfig& config,
                               const std::string& out,
                               const RandomCheckpointOptions& options,
                               const std::function<bool(int64_t, int64_t)>& progress = nullptr);

}  // namespace dsa

#pragma GCC visibility pop
