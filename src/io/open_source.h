// The one way to a checkpoint, whatever holds it: a folder of safetensors, or one such file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dsa/status.h"

#include "io/tensor_source.h"

namespace dsa {

struct OpenedSource {
  std::unique_ptr<TensorSource> tensors;
  bool has_config = false;         // false: one file, which says nothing of the model
  std::string config_text;         // of config.json
  std::string config_path;         // starts the messages about it
  std::vector<std::string> notes;  // what is odd, but no error
};

// path: a folder with config.json and its tensors, or one .safetensors file.
//   Errors  those of Checkpoint::open() and SafetensorsFile::open()
Result<OpenedSource> open_source(const std::string& path);

// The same where the model's configuration is wanted.
//   Errors  kInvalidArgument besides: one file, which has none
Result<OpenedSource> open_model_source(const std::string& path);

}  // namespace dsa
