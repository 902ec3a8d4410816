// The subcommands of `dsa`. Each adds its options to its own CLI::App and returns what runs it.
//
// An action reports a failure as a Status (exit code 1) and a mistake on the command line that the
// parser could not see as a CLI::ValidationError (exit code 2).
#pragma once

#include <functional>

#include "dsa/status.h"

namespace CLI {
class App;
}

namespace cli {

using Action = std::function<dsa::Status()>;

Action add_run(CLI::App& app);
Action add_logits(CLI::App& app);
Action add_perplexity(CLI::App& app);
Action add_inspect(CLI::App& app);
Action add_tokenize(CLI::App& app);
Action add_cpu(CLI::App& app);
Action add_verify(CLI::App& app);
Action add_bench(CLI::App& app);
Action add_cache(CLI::App& app);
Action add_serve(CLI::App& app);
Action add_convert(CLI::App& app);
Action add_train(CLI::App& app);
Action add_plot(CLI::App& app);

}  // namespace cli
