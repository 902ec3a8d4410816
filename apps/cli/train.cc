// dsa train: runs one stage of a training configuration, or resumes it.
#include "dsa/train.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "dsa_measure/bench.h"

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;
using Clock = std::chrono::steady_clock;

constexpr const char* kFooter =
    "A run resumes from the newest checkpoint in its folder. Ctrl-C saves a checkpoint and exits.\n"
    "`dsa run -m FOLDER/latest` runs the model; `dsa plot FOLDER/log.jsonl` plots its loss.\n"
    "\n"
    "Examples:\n"
    "  dsa train configs/smoke/pretrain.toml\n"
    "  dsa train configs/smoke/warmup.toml --init some/mla-model --set optimizer.steps=200\n"
    "  dsa train --keys";

constexpr std::chrono::seconds kBetweenLines(10);

struct TrainCommand {
  std::string config;
  std::vector<std::string> changes;
  std::string init;
  std::string output;
  bool keys = false;
  bool quiet = false;
};

void list_keys() {
  for (const dsa::TrainKey& key : dsa::train_config_keys())
    print(fmt::format("{:<32} {}\n{:<32} {}\n", key.name, key.meaning, "", key.want));
}

// What a run says of itself on standard error: a line that is rewritten on a terminal, one line
// every ten seconds elsewhere.
class TrainDisplay {
 public:
  TrainDisplay(double peak, bool quiet) : peak_(peak), quiet_(quiet) {}

  void start(const dsa::TrainStart& start) {
    n_steps_ = start.n_steps;
    first_ = start.first_step;
    if (quiet_) return;
    note(
        fmt::format("{}: trains {} of {} parameters on {} tokens ({} held out), {} memory, {} "
                    "threads",
                    start.stage, group_digits(start.n_trained), group_digits(start.n_parameters),
                    group_digits(start.n_tokens), group_digits(start.n_held_out_tokens),
                    format_bytes(start.memory_bytes), start.n_threads));
    if (first_ > 0) note(fmt::format("resuming after step {}", group_digits(first_)));
  }

  void step(const dsa::TrainStep& step) {
    tokens_ += step.tokens;
    flops_ += step.flops;
    seconds_ += step.seconds;
    if (quiet_) return;
    const auto now = Clock::now();
    const bool last = step.step == n_steps_;
    const bool terminal = stderr_is_terminal();
    if (!last && now - shown_ < (terminal ? std::chrono::milliseconds(200) : kBetweenLines)) return;
    shown_ = now;
    const std::string text = line(step);
    if (terminal) {
      std::fputs(("\r\x1b[K" + text).c_str(), stderr);
      open_ = true;
    } else {
      note(text);
    }
    tokens_ = 0;
    flops_ = seconds_ = 0;
  }

  void evaluation(const dsa::TrainEvaluation& found) {
    if (quiet_) return;
    std::string text =
        fmt::format("step {}: held-out loss {:.4f}", group_digits(found.step), found.loss);
    if (std::isfinite(found.recall)) {
      text += fmt::format(", selection recall {:.3f}, mass {:.3f}", found.recall, found.mass);
    }
    end_line();
    note(text);
  }

  void end_line() {
    if (open_) std::fputs("\n", stderr);
    open_ = false;
  }

 private:
  std::string line(const dsa::TrainStep& step) const {
    const double elapsed = std::chrono::duration<double>(Clock::now() - begin_).count();
    const auto done = static_cast<double>(step.step - first_);
    std::string text = fmt::format("step {} / {}", group_digits(step.step), group_digits(n_steps_));
    if (std::isfinite(step.loss)) text += fmt::format("  loss {:.4f}", step.loss);
    if (std::isfinite(step.index_kl)) text += fmt::format("  kl {:.4f}", step.index_kl);
    text += fmt::format("  {} tokens/s", format_rate(tokens_, seconds_));
    if (peak_ > 0) text += fmt::format("  {:.0f} % of peak", 100 * flops_ / seconds_ / peak_);
    const double left = elapsed / done * static_cast<double>(n_steps_ - step.step);
    if (step.step < n_steps_) text += "  " + format_seconds(left) + " left";
    return text;
  }

  double peak_;
  bool quiet_;
  bool open_ = false;
  int64_t n_steps_ = 0;
  int64_t first_ = 0;
  int64_t tokens_ = 0;  // since the last line
  double flops_ = 0;
  double seconds_ = 0;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point shown_ = begin_ - kBetweenLines;
};

// A text as a TOML string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text)
    out += c == '"' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
  return out + "\"";
}

Status run_training(const TrainCommand& command) {
  std::vector<std::string> changes = command.changes;
  if (!command.init.empty()) changes.push_back("init=" + quoted(command.init));
  if (!command.output.empty()) changes.push_back("output=" + quoted(command.output));
  auto config = dsa::read_train_config(command.config, changes);
  if (!config.ok()) return config.status();
  double peak = 0;
  if (!command.quiet) {
    const auto limits = dsa::measure_machine(static_cast<int>(config->threads));
    if (!limits.ok()) return limits.status();
    peak = config->precision.bf16 ? limits->bf16_flops : limits->f32_flops;
  }
  TrainDisplay display(peak, command.quiet);
  dsa::TrainHooks hooks;
  hooks.packing = [](int64_t, int64_t) { return !interrupted(); };
  hooks.start = [&](const dsa::TrainStart& start) {
    if (!command.quiet && !start.packed && !config->data.text.empty()) {
      note(fmt::format("{}: exists, so data.text is not tokenized again", start.tokens));
    }
    display.start(start);
  };
  hooks.step = [&](const dsa::TrainStep& step) {
    display.step(step);
    return !interrupted();
  };
  hooks.evaluation = [&](const dsa::TrainEvaluation& found) { display.evaluation(found); };
  const auto report = dsa::train(*config, hooks);
  display.end_line();
  if (!report.ok()) return report.status();
  if (!report->finished) {
    note(fmt::format("dsa train: stopped by Ctrl-C after step {}, saved; the same command resumes",
                     group_digits(report->steps)));
  }
  if (!command.quiet) print(report->checkpoint + "\n");
  return {};
}

}  // namespace

Action add_train(App& app) {
  auto command = std::make_shared<TrainCommand>();
  const auto config = app.add_option("CONFIG", command->config, "TOML file that describes a stage");
  app.add_option("--set", command->changes, "Override the value of a key in the file")
      .type_name("KEY=VALUE")
      .one_each();
  app.add_option("--init", command->init, "The same as --set init=DIR").type_name("DIR");
  app.add_option("-o,--output", command->output, "The same as --set output=DIR").type_name("DIR");
  const auto keys =
      app.add_flag("--keys", command->keys, "List every key of a configuration and its range");
  config.excludes(keys);
  app.add_flag("-q,--quiet", command->quiet, "Show no progress");
  app.footer(kFooter);
  return [command]() -> Status {
    if (command->keys) {
      list_keys();
      return {};
    }
    if (command->config.empty()) throw UsageError("CONFIG is required");
    return run_training(*command);
  };
}

}  // namespace cli
