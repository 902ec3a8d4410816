// dsa plot: plots the logs of training runs.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "dsa/token_data.h"

#include "cli/command.h"
#include "cli/io.h"
#include "cli/line_chart.h"

namespace cli {
namespace {

using dsa::Result;
using dsa::Status;

constexpr const char* kFooter =
    "LOG is the log.jsonl of a training run, or the run's folder. Several logs are overlaid, each\n"
    "over its own step numbers.\n"
    "\n"
    "Examples:\n"
    "  dsa plot build/models/smoke/pretrain -o pretrain.svg\n"
    "  dsa plot runs/warmup/log.jsonl runs/sparse/log.jsonl -o losses.svg";

struct PlotCommand {
  std::vector<std::string> logs;
  std::string output;
};

// The figures of one log, by step.
struct RunFigures {
  std::string label;
  Line loss, kl, held_out, recall, mass;
  std::vector<Line> layers;  // KL of each
};

double number(const nlohmann::ordered_json& line, const char* key) {
  const auto place = line.find(key);
  return place != line.end() && place->is_number() ? place->get<double>()
                                                   : std::numeric_limits<double>::quiet_NaN();
}

// Sums and differences of what can be drawn are finite.
bool can_be_drawn(double value) {
  constexpr double kLargest = 1e300;
  return std::fabs(value) <= kLargest;  // not NaN
}

void add(Line& line, double step, double value) {
  if (can_be_drawn(step) && can_be_drawn(value)) line.points.emplace_back(step, value);
}

void add_layers(const nlohmann::ordered_json& values, double step, RunFigures& run) {
  if (!values.is_array()) return;
  constexpr size_t kMostLayers = 4096;
  for (size_t i = 0; i < values.size() && i < kMostLayers; ++i) {
    if (run.layers.size() <= i) run.layers.push_back({fmt::format("layer {}", i), {}, false});
    if (values[i].is_number()) add(run.layers[i], step, values[i].get<double>());
  }
}

Result<RunFigures> read_log(const std::string& path) {
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  const std::string file = folder ? path + "/log.jsonl" : path;
  auto text = read_input(file);
  if (!text.ok()) return text.status();
  RunFigures run;
  std::istringstream lines(*text);
  std::string line;
  for (int64_t n = 1; std::getline(lines, line); ++n) {
    auto entry = parse_json(line, fmt::format("{}:{}", file, n));
    if (!entry.ok() && lines.eof()) break;  // the run is writing it, or was killed while it did
    if (!entry.ok()) return entry.status();
    if (!entry->is_object() || !entry->contains("type")) {
      return Status(dsa::StatusCode::kCorruption,
                    fmt::format("{}:{}: want an object with \"type\"", file, n));
    }
    const double step = number(*entry, "step");
    if ((*entry)["type"] == "step") {
      add(run.loss, step, number(*entry, "loss"));
      add(run.kl, step, number(*entry, "index_kl"));
      if (entry->contains("index_kl_of_layer")) {
        add_layers((*entry)["index_kl_of_layer"], step, run);
      }
    } else {
      add(run.held_out, step, number(*entry, "loss"));
      add(run.recall, step, number(*entry, "recall"));
      add(run.mass, step, number(*entry, "mass"));
    }
    const auto stage = entry->find("stage");
    if (stage != entry->end() && stage->is_string()) run.label = stage->get<std::string>();
  }
  return run;
}

void add_line(Chart& chart, Line line, const std::string& label, bool dots) {
  if (line.points.empty()) return;
  line.label = label;
  line.dots = dots;
  chart.lines.push_back(std::move(line));
}

std::vector<Chart> charts_of(const std::vector<RunFigures>& runs) {
  Chart loss{"cross-entropy per token (natural logarithm)", "step", {}};
  Chart kl{"KL of the indexer, per query and indexer", "step", {}};
  Chart layers{"KL of each layer's indexer, per query", "step", {}};
  Chart selection{
      "held-out selection: share of the dense attention's best k, and of its mass", "step", {}};
  for (const RunFigures& run : runs) {
    add_line(loss, run.loss, run.label, false);
    add_line(loss, run.held_out, run.label + " held out", true);
    add_line(kl, run.kl, run.label, false);
    add_line(selection, run.recall, run.label + " recall", true);
    add_line(selection, run.mass, run.label + " mass", true);
  }
  if (runs.size() == 1) {
    for (const Line& layer : runs.front().layers)
      add_line(layers, layer, layer.label, false);
  }
  std::vector<Chart> charts;
  for (Chart* chart : {&loss, &kl, &layers, &selection}) {
    if (!chart->lines.empty()) charts.push_back(std::move(*chart));
  }
  return charts;
}

Status plot(const PlotCommand& command) {
  std::vector<RunFigures> runs;
  std::string title;
  for (const std::string& log : command.logs) {
    auto run = read_log(log);
    if (!run.ok()) return run.status();
    title += (title.empty() ? "" : ", ") + log;
    runs.push_back(std::move(*run));
  }
  const std::vector<Chart> charts = charts_of(runs);
  if (charts.empty()) {
    return Status(dsa::StatusCode::kInvalidArgument, title + ": no steps to draw");
  }
  return dsa::write_text_file(command.output, draw_charts(title, charts));
}

}  // namespace

Action add_plot(App& app) {
  auto command = std::make_shared<PlotCommand>();
  app.add_option("LOG", command->logs, "Logs, or folders of runs").required();
  app.add_option("-o,--output", command->output, "SVG file to write").type_name("FILE").required();
  app.footer(kFooter);
  return [command] { return plot(*command); };
}

}  // namespace cli
