// A checkpoint's weights, opened once and shared by everything that computes with them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dsa/model_config.h"
#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

// The weights of a checkpoint, mapped, checked and shared by any number of engines.
// Thread safety   immutable after open().
class Model {
 public:
  // dir: a Hugging Face checkpoint (config.json, model.safetensors or shards with their index).
  // Maps and checks; large matrices are neither read nor copied, unless they lie at addresses from
  // which their elements cannot be read.
  //   Errors  kNotFound, kIoError, kCorruption, kUnsupported: file, tensor or field, what it was,
  //           what was wanted.
  static Result<std::shared_ptr<const Model>> open(const std::string& dir,
                                                   const ConfigOptions& options = {});
  ~Model();

  const ModelConfig& config() const;
  int64_t weight_bytes() const;  // bytes of the tensors the forward pass uses
  int64_t n_parameters() const;
  // 64 hexadecimal digits that another checkpoint does not have: of the configuration's text and of
  // each file's size, time of change and samples of its bytes. A copy of a file with another time
  // counts as another checkpoint.
  std::string identity() const;

 private:
  friend struct ModelInternals;  // what the library itself sees of it (src/model/model.h)
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dsa

#pragma GCC visibility pop
