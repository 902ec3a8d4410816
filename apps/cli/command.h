// The subcommands of `dsa`. Each declares its options and returns what runs it.
#pragma once

#include "cli/command_line.h"

namespace cli {

Action add_run(App& app);
Action add_logits(App& app);
Action add_perplexity(App& app);
Action add_inspect(App& app);
Action add_tokenize(App& app);
Action add_cpu(App& app);
Action add_verify(App& app);
Action add_bench(App& app);
Action add_cache(App& app);
Action add_serve(App& app);
Action add_convert(App& app);
Action add_train(App& app);
Action add_plot(App& app);

}  // namespace cli
