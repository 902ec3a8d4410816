// Inspects a checkpoint without running it: configuration, tensors, problems.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dsa/model_config.h"
#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

struct TensorInfo {
  std::string name;
  std::string dtype;  // as safetensors spells it, e.g. "F8_E4M3"
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  std::string file;
};

struct Inspection {
  bool has_config = false;  // a directory whose config.json could be used; else see `problems`
  ModelConfig config;
  std::vector<TensorInfo> tensors;  // sorted by name
  int64_t n_parameters = 0;
  int64_t total_bytes = 0;
  // A sentence each. No problems: Model::open() would succeed. The search stops at 1,000 of them;
  // then a note says so and `unused` is empty.
  std::vector<std::string>
      problems;                     // missing, mis-shaped or refused: tensor or field, was, wanted
  std::vector<std::string> unused;  // tensors that the forward pass does not read
  std::vector<std::string> notes;   // oddities that do not keep the model from running
};

// path: a checkpoint directory or one .safetensors file.
//   Errors  only when the path cannot be read at all or a file is inconsistent.
Result<Inspection> inspect_checkpoint(const std::string& path, const ConfigOptions& options = {});

}  // namespace dsa

#pragma GCC visibility pop
