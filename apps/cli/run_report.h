// What `dsa run` tells about a generation: a few lines for people, one object for machines.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/generate.h"
#include "cli/run_options.h"

namespace cli {

// Several lines: speed, memory, what attention did.
std::string report_text(const Runner& runner, const GeneratedText& generation);

// One line for a turn of a chat.
std::string report_line(const Runner& runner, const GeneratedText& generation);

// The generation alone: text, ids, counts, timings.
nlohmann::ordered_json generation_json(const GeneratedText& generation);

// Sampling, memory, attention, load time.
nlohmann::ordered_json runner_json(const Runner& runner);

}  // namespace cli
