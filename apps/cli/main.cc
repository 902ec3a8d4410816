// `dsa`: parses the command line, runs one subcommand, turns its outcome into an exit code.
//   0 done   1 a failure, one line on stderr says which   2 a mistake on the command line
//   130 stopped by Ctrl-C
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <new>
#include <string>

#include "dsa/version.h"

#include "cli/command.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/io.h"

namespace {

struct Command {
  const char* name;
  const char* summary;
  cli::Action (*add)(CLI::App& app);
};

constexpr Command kCommands[] = {
    {"run", "Generate text from a prompt, or chat", cli::add_run},
    {"serve", "Serve OpenAI's API over HTTP", cli::add_serve},
    {"logits", "Write the logits and selections of given tokens", cli::add_logits},
    {"perplexity", "Measure the loss on a text", cli::add_perplexity},
    {"inspect", "Show what a checkpoint holds and needs", cli::add_inspect},
    {"tokenize", "Turn text into token ids and back", cli::add_tokenize},
    {"convert", "Change the type of a checkpoint's weights, or create random ones",
     cli::add_convert},
    {"cpu", "Show which kernels this CPU runs", cli::add_cpu},
    {"verify", "Check kernels, or a checkpoint's outputs", cli::add_verify},
    {"cache", "List, verify or purge the disk cache of a server", cli::add_cache},
    {"train", "Train a model, or its indexer", cli::add_train},
    {"plot", "Plot the logs of training runs", cli::add_plot},
    {"bench", "Benchmark kernels, attention and models against this machine's limits",
     cli::add_bench},
};

constexpr const char* kFooter =
    "Examples:\n"
    "  dsa run -m models/dsa-13m -p \"In the beginning\"\n"
    "  dsa inspect models/dsa-13m\n"
    "  dsa COMMAND --help        options and examples of a command";

constexpr int kFailure = 1;
constexpr int kUsageError = 2;
constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells report it

int report(const std::string& who, const dsa::Status& status) {
  const dsa::Status written = cli::flush_stdout();
  const dsa::Status& shown = status.ok() ? written : status;
  if (!shown.ok()) cli::note(fmt::format("{}: {}", who, cli::one_line(shown.message())));
  if (cli::interrupted()) return kInterrupted;
  return shown.ok() ? 0 : kFailure;
}

int report_usage(const std::string& who, const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help and --version
  const auto unknown = app.remaining(true);
  const std::string what = unknown.empty()
                               ? std::string(error.what())
                               : fmt::format("unknown argument \"{}\"", unknown.front());
  cli::note(fmt::format("{}: {} (see {} --help)", who, cli::one_line(what), who));
  return kUsageError;
}

}  // namespace

int main(int argc, char** argv) {
  cli::install_signal_handlers();
  CLI::App app("DeepSeek Sparse Attention on CPUs.", "dsa");
  app.formatter(cli::make_help_formatter());
  app.set_help_flag("-h,--help", "Show this help");
  app.set_version_flag("--version", "dsa " DSA_VERSION, "Show the version");
  app.require_subcommand(1);
  app.footer(kFooter);
  std::map<const CLI::App*, cli::Action> actions;
  for (const Command& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->group("Commands");
    actions[sub] = command.add(*sub);
  }
  const auto who = [&app] {
    const auto chosen = app.get_subcommands();
    return chosen.empty() ? std::string("dsa") : "dsa " + chosen.front()->get_name();
  };
  try {
    app.parse(argc, argv);
    return report(who(), actions[app.get_subcommands().front()]());
  } catch (const CLI::ParseError& error) {
    return report_usage(who(), app, error);
  } catch (const std::bad_alloc&) {
    cli::note(who() + ": out of memory");
    return kFailure;
  }
}
