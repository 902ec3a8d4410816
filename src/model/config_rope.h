// The rotary embedding that a configuration asks for.
#pragma once

#include <string>

#include "dsa/model_config.h"

#include "model/config_fields.h"

namespace dsa {

// Reads rope_theta, rope_scaling, rope_parameters and original_max_position_embeddings; failures
// are kept in `fields`. name: starts the messages; config.max_position must be set.
void read_rope(ConfigFields& fields, const std::string& name, ModelConfig& config);

}  // namespace dsa
