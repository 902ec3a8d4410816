#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "dsa/bpe_trainer.h"
#include "dsa/convert.h"
#include "dsa/tokenizer.h"

#include "common/math.h"
#include "common/status_macros.h"
#include "convert/copy_file.h"
#include "convert/encode.h"
#include "convert/shard_writer.h"
#include "formats/cache_layout.h"
#include "formats/dequantize.h"
#include "io/atomic_file.h"
#include "io/atomic_folder.h"
#include "io/element_type.h"
#include "model/block_scales.h"
#include "model/random_source.h"
#include "model/tensor_table.h"

namespace dsa {
namespace {

PlannedTensor planned(const ModelTensor& tensor, WeightType type) {
  PlannedTensor planned;
  const DType stored = stored_type(type, tensor.name, tensor.shape.size(), DType::kF32);
  planned.spec = {tensor.name, *element_type(stored), tensor.shape};
  if (stored == DType::kE4M3) {
    planned.scale_rows = ceil_div<int64_t>(tensor.shape[0], kWeightBlock);
    planned.scale_cols = ceil_div<int64_t>(tensor.shape[1], kWeightBlock);
  }
  return planned;
}

// Drawn as f32 and rounded, so that a type changes a weight by its rounding alone.
Status write_tensor(const PlannedTensor& tensor, uint64_t seed, SafetensorsWriter* writer) {
  const RandomSource random(DType::kF32, seed);
  const TensorSpec& spec = tensor.spec;
  DSA_ASSIGN_OR_RETURN(const StoredTensor* const drawn,
                       random.require(spec.name, spec.shape, {DType::kF32}));
  std::vector<float> values = dequantize(DType::kF32, drawn->data);
  const bool matrix = spec.shape.size() == 2;
  const Encoded encoded =
      encode_values(dtype_of(spec.type), matrix ? static_cast<size_t>(spec.shape[0]) : 1,
                    matrix ? static_cast<size_t>(spec.shape[1]) : values.size(), values);
  if (tensor.scale_rows > 0) {
    DSA_RETURN_IF_ERROR(writer->append(block_scales_name(spec.name), std::span(encoded.scales)));
  }
  return writer->append_bytes(spec.name, encoded.bytes);
}

Status write_weights(const ModelConfig& config,
                     const AtomicFolder& out,
                     const RandomCheckpointOptions& options,
                     const std::function<bool(int64_t, int64_t)>& progress) {
  std::vector<PlannedTensor> tensors;
  int64_t total = 0;
  for_each_tensor(config, [&](const ModelTensor& tensor) {
    tensors.push_back(planned(tensor, options.type));
    total += tensors.back().n_bytes();
    return true;
  });
  const auto shards = plan_shards(std::move(tensors), options.shard_bytes);
  int64_t done = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    DSA_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                         open_shard(out.file(shard_name(i, shards.size())), shards[i]));
    for (const PlannedTensor& tensor : shards[i]) {
      DSA_RETURN_IF_ERROR(write_tensor(tensor, options.seed, &writer));
      done += tensor.n_bytes();
      if (progress && !progress(done, total)) {
        return error(StatusCode::kCancelled, "not written: stopped");
      }
    }
    DSA_RETURN_IF_ERROR(writer.commit());
  }
  if (shards.size() == 1) return {};
  return write_file(out.file("model.safetensors.index.json"), shard_index(shards));
}

Status write_byte_tokenizer(const AtomicFolder& out) {
  DSA_ASSIGN_OR_RETURN(const BpeTrainer trainer, BpeTrainer::create({.vocab_size = 264}));
  DSA_RETURN_IF_ERROR(write_file(out.file("tokenizer.json"), trainer.train()));
  return write_file(out.file("tokenizer_config.json"), "{\"add_bos_token\": true}\n");
}

// The ids of a shape belong to the tokenizer of its model. Those of the tokenizer that is written
// take their place; of another folder's, which are not known here, only what fits stays.
void set_token_ids(bool byte_tokenizer, ModelConfig* config) {
  if (byte_tokenizer) {  // dsa/bpe_trainer.h
    config->bos_token_id = 0;
    config->eos_token_ids = {1};
    return;
  }
  const auto outside = [config](int32_t id) { return id >= config->vocab_size; };
  if (outside(config->bos_token_id)) config->bos_token_id = -1;
  std::erase_if(config->eos_token_ids, outside);
}

Status copy_tokenizer(const std::string& dir, const AtomicFolder& out) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    const std::string from = dir + "/" + name;
    std::error_code failed;
    if (!std::filesystem::exists(from, failed)) continue;
    DSA_RETURN_IF_ERROR(copy_file(from, out.file(name)));
  }
  return {};
}

}  // namespace

Status write_random_checkpoint(const ModelConfig& config,
                               const std::string& out,
                               const RandomCheckpointOptions& options,
                               const std::function<bool(int64_t, int64_t)>& progress) {
  if (options.shard_bytes < 1) {
    return invalid_argument("shard_bytes: {}, want at least 1", options.shard_bytes);
  }
  DSA_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(out));
  DSA_RETURN_IF_ERROR(options.tokenizer.empty() ? write_byte_tokenizer(folder)
                                                : copy_tokenizer(options.tokenizer, folder));
  DSA_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::open(folder.folder()));
  if (tokenizer.vocab_size() > config.vocab_size) {
    return invalid_argument("vocab_size: {}, want at least the {} of the tokenizer",
                            config.vocab_size, tokenizer.vocab_size());
  }
  DSA_RETURN_IF_ERROR(write_weights(config, folder, options, progress));
  ModelConfig written = config;
  written.fp8_weights = options.type == WeightType::kFp8;
  written.n_nextn_layers = 0;
  set_token_ids(options.tokenizer.empty(), &written);
  const char* dtype = options.type == WeightType::kF32 ? "float32" : "bfloat16";
  DSA_RETURN_IF_ERROR(write_file(folder.file("config.json"), model_config_json(written, dtype)));
  return folder.commit();
}

}  // namespace dsa
