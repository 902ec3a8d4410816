// `dsa`: parses the command line, runs one subcommand, turns its outcome into an exit code.
//   0 done   1 a failure, one line on stderr says which   2 a mistake on the command line
//   130 stopped by Ctrl-C
#include <fmt/format.h>

#include <new>
#include <string>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/interrupt.h"
#include "cli/io.h"

namespace {

constexpr cli::Subcommand kCommands[] = {
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

int report_usage(const std::string& who, const cli::UsageError& error) {
  cli::note(fmt::format("{}: {} (see {} --help)", who, cli::one_line(error.what()), who));
  return kUsageError;
}

}  // namespace

int main(int argc, char** argv) {
  cli::install_signal_handlers();
  cli::CommandLine line(kFooter, kCommands);
  try {
    const cli::Action action = line.parse(argc, argv);
    return action ? report(line.who(), action()) : 0;
  } catch (const cli::UsageError& error) {
    return report_usage(line.who(), error);
  } catch (const std::bad_alloc&) {
    cli::note(line.who() + ": out of memory");
    return kFailure;
  }
}
