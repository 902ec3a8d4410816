// The keys of a training configuration: one table for reading, checking and listing them.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "dsa/train.h"

namespace dsa::trainer {

using KeyTarget = std::variant<std::string*, std::vector<std::string>*, int64_t*, double*, bool*>;

struct ConfigKey {
  const char* name;
  KeyTarget target;
  double min;  // of numbers; of text 1: must be given
  double max;
  const char* meaning;
  std::vector<std::string> choices;  // of text; empty: any

  std::string want() const;
};

// Bound to the members of `config`.
std::vector<ConfigKey> config_keys(TrainConfig* config);

// The known name with the fewest changed letters.
std::string nearest_name(const std::vector<ConfigKey>& keys, const std::string& name);

}  // namespace dsa::trainer
