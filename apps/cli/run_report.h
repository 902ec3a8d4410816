// What `dsa run` tells about a generation: a few lines for people, one object for machines.
#pragma once

#include <string>

#include "cli/generate.h"
#include "cli/json.h"
#include "cli/run_options.h"

namespace cli {

// Several lines: speed, memory, what attention did.
std::string report_text(const Runner& runner, const GeneratedText& generation);

// One line for a turn of a chat.
std::string report_line(const Runner& runner, const GeneratedText& generation);

// The generation alone: text, ids, counts, timings.
Json generation_json(const GeneratedText& generation);

// Sampling, memory, attention, load time.
Json runner_json(const Runner& runner);

}  // namespace cli
