// Writes the tensors of a checkpoint into files of bounded size, with their index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dsa/safetensors.h"
#include "dsa/status.h"

namespace dsa {

struct PlannedTensor {
  TensorSpec spec;
  size_t source = 0;  // for the caller
  // Scales of an e4m3 matrix go into the same file.
  int64_t scale_rows = 0;  // 0: none
  int64_t scale_cols = 0;

  int64_t n_bytes() const;
};

// The tensors of each file: in the order given, none larger than shard_bytes unless one tensor is.
std::vector<std::vector<PlannedTensor>> plan_shards(std::vector<PlannedTensor> tensors,
                                                    int64_t shard_bytes);

// "model.safetensors", or "model-00001-of-00003.safetensors".
std::string shard_name(size_t i, size_t n);

// A writer for the tensors of one file; wide elements come first, so that all are aligned.
Result<SafetensorsWriter> open_shard(const std::string& path,
                                     const std::vector<PlannedTensor>& tensors);

// The text of model.safetensors.index.json.
std::string shard_index(const std::vector<std::vector<PlannedTensor>>& shards);

}  // namespace dsa
