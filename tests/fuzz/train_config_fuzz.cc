// Any text as a training configuration, and any as an override: refused, or values in their ranges.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "dsa/train.h"

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

void check_values(const dsa::TrainConfig& config) {
  check(config.stage == "pretrain" || config.stage == "warmup" || config.stage == "sparse");
  check(!config.output.empty());
  check(config.model.hidden >= 1 && config.model.layers >= 1);
  check(config.data.context >= 2 && config.data.held_out >= 0 && config.data.held_out <= 0.5);
  check(config.optimizer.steps >= 1 && config.optimizer.beta2 < 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto config = dsa::parse_train_config(text, "fuzz", {});
  if (config.ok()) {
    check_values(*config);
  } else {
    check(!config.status().message().empty());
  }
  const auto changed = dsa::parse_train_config("stage=\"sparse\"\noutput=\"x\"", "fuzz", {text});
  if (changed.ok()) check_values(*changed);
  return 0;
}
