// What a run starts from: the model's configuration and tensors, its tokenizer, its data.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "dsa/model_config.h"
#include "dsa/status.h"
#include "dsa/tokenizer.h"
#include "dsa/train.h"

#include "backprop/train_model.h"
#include "data/sequences.h"
#include "data/token_file.h"
#include "io/tensor_source.h"
#include "trainer/folder_lock.h"

namespace dsa::trainer {

struct RunStart {
  FolderLock lock;  // of the output folder, for the life of the run
  backprop::TrainStage stage = backprop::TrainStage::kPretrain;
  ModelConfig config;                    // of the checkpoints to write; they can be run
  std::unique_ptr<TensorSource> source;  // null: random weights
  std::string init_checksum;             // of init's configuration and weights; empty: no init
  bool new_indexers = false;
  std::string tokenizer_dir;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string tokens_path;
  bool packed = false;  // the token file was missing and was made
  std::unique_ptr<TokenFile> tokens;
  DataSplit split;
};

// Opens and checks everything, and packs the text where the token file is missing; packing: that of
// TrainHooks.
//   Errors  as dsa::train()
Result<RunStart> prepare_run(const TrainConfig& config,
                             const std::function<bool(int64_t, int64_t)>& packing);

}  // namespace dsa::trainer
