// What parse_model_config() and its relatives share.
#pragma once

#include <string>
#include <vector>

#include "dsa/model_config.h"

namespace dsa {

struct ReadConfig {
  ModelConfig config;            // to be used when there is no problem
  std::vector<Status> problems;  // one per field at most
};

// needs_indexer: models without one are refused.
ReadConfig read_config(const std::string& text,
                       const std::string& name,
                       bool needs_indexer,
                       const ConfigOptions& options);

// The configuration, or the first problem and how many others there are.
Result<ModelConfig> config_or_problem(ReadConfig read);

}  // namespace dsa
