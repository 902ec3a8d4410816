// A random checkpoint that exists for the life of the object, its model and its exact values.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/replay.h"
#include "tests/engine/synthetic.h"

namespace dsa {

class RandomFamily {
 public:
  RandomFamily(const std::string& name, const nlohmann::json& config, DType matrix_type)
      : dir_(testing::TempDir() + "dsa_" + name + "_" + std::to_string(getpid())),
        checkpoint_(config, matrix_type, 5) {
    checkpoint_.write(dir_);
    model_ = open_model(dir_);
  }
  ~RandomFamily() { std::filesystem::remove_all(dir_); }
  RandomFamily(const RandomFamily&) = delete;
  RandomFamily& operator=(const RandomFamily&) = delete;

  const std::shared_ptr<const Model>& model() const { return model_; }
  const Tensors& tensors() const { return checkpoint_.tensors(); }

  std::vector<int32_t> random_tokens(size_t n, uint32_t seed) const {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int32_t> token(
        0, static_cast<int32_t>(model_->config().vocab_size) - 1);
    std::vector<int32_t> tokens(n);
    for (int32_t& t : tokens)
      t = token(random);
    return tokens;
  }

 private:
  std::string dir_;
  SyntheticCheckpoint checkpoint_;
  std::shared_ptr<const Model> model_;
};

}  // namespace dsa
