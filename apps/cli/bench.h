// What the kinds of `dsa bench` share.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "dsa/bench.h"

#include "cli/command.h"

namespace cli {

// Of a published shape ("v32", "glm5") or a config.json.
dsa::Result<dsa::ModelConfig> read_shape(const std::string& shape);

// "131,072" in tables; "4K" and "1M" are accepted on the command line.
std::vector<int64_t> parse_contexts(const std::string& option, const std::string& text);

std::string limits_text(const dsa::MachineLimits& limits);
nlohmann::ordered_json limits_json(const dsa::MachineLimits& limits);

Action add_bench_attention(CLI::App& app);
Action add_bench_kernels(CLI::App& app);

}  // namespace cli
