// dsa convert: a checkpoint with another type of weights, or one of random weights.
#include "dsa/convert.h"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/bench.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::Status;

constexpr const char* kFooter =
    "The table shows the rounding error of each kind of tensor: the largest difference, and the\n"
    "L2 norm of the differences divided by the L2 norm of the values.\n"
    "\n"
    "Examples:\n"
    "  dsa convert models/dsa-13m small-fp8 --type fp8\n"
    "  dsa convert --random v32,layers=2,experts=8,vocab=2048 random --tokenizer "
    "models/dsa-13m";

struct ConvertCommand {
  std::vector<std::string> folders;
  std::string random;
  std::string tokenizer;
  dsa::WeightType type = dsa::WeightType::kBF16;
  double shard_gb = 5;
  uint64_t seed = 1;
  bool quiet = false;
  bool json = false;
};

Status not_written(const std::string& out, const Status& status) {
  if (!interrupted()) return status;
  return Status(status.code(), out + ": not written: Ctrl-C");
}

void print_report(const ConvertCommand& command, const dsa::ConvertReport& report) {
  if (command.json) {
    auto rows = Json::array();
    for (const dsa::ConvertError& error : report.errors) {
      rows.push_back({{"tensors", error.tensors},
                      {"n_tensors", error.n_tensors},
                      {"n_values", error.n_values},
                      {"largest", error.largest},
                      {"relative", error.relative}});
    }
    print_json({{"type", dsa::weight_type_name(command.type)},
                {"bytes_before", report.bytes_before},
                {"bytes_after", report.bytes_after},
                {"n_files", report.n_files},
                {"errors", std::move(rows)}});
    return;
  }
  print(fmt::format("{:<36} {:>8} {:>14} {:>12} {:>12}\n", "tensors", "number", "values", "largest",
                    "relative"));
  for (const dsa::ConvertError& error : report.errors) {
    print(fmt::format("{:<36} {:>8} {:>14} {:>12.3g} {:>12.3g}\n", error.tensors,
                      group_digits(error.n_tensors), group_digits(error.n_values), error.largest,
                      error.relative));
  }
  print(fmt::format("{}: {} in {}, {} before\n", command.folders.back(),
                    format_bytes(report.bytes_after),
                    report.n_files == 1 ? "one file" : fmt::format("{} files", report.n_files),
                    format_bytes(report.bytes_before)));
}

Status make_random(const ConvertCommand& command, int64_t shard_bytes) {
  const std::string& out = command.folders.front();
  const auto shape = read_shape(command.random);
  if (!shape.ok()) return shape.status();
  dsa::RandomCheckpointOptions options;
  options.type = command.type;
  options.shard_bytes = shard_bytes;
  options.seed = command.seed;
  options.tokenizer = command.tokenizer;
  const Status written = dsa::write_random_checkpoint(
      *shape, out, options, [](int64_t, int64_t) { return !interrupted(); });
  return written.ok() ? written : not_written(out, written);
}

Status convert(const ConvertCommand& command) {
  const auto shard_bytes = static_cast<int64_t>(command.shard_gb * 1e9);
  if (!command.random.empty()) {
    if (command.folders.size() != 1) throw UsageError("--random: want one folder, OUT");
    return make_random(command, shard_bytes);
  }
  if (command.folders.size() != 2) throw UsageError("want two folders, IN and OUT");
  const auto report = dsa::convert_checkpoint(command.folders[0], command.folders[1],
                                              {.type = command.type, .shard_bytes = shard_bytes},
                                              [](int64_t, int64_t) { return !interrupted(); });
  if (!report.ok()) return not_written(command.folders[1], report.status());
  if (!command.quiet) print_report(command, *report);
  return {};
}

}  // namespace

Action add_convert(App& app) {
  auto command = std::make_shared<ConvertCommand>();
  app.add_option("FOLDERS", command->folders,
                 "IN: checkpoint to read, OUT: new folder to write; with --random only OUT")
      .required()
      .expected(1, 2);
  app.add_option_function(
         "--type",
         [command](const std::string& text) {
           command->type = parse_list<dsa::WeightType>("--type", text,
                                                       {{"f32", dsa::WeightType::kF32},
                                                        {"bf16", dsa::WeightType::kBF16},
                                                        {"fp8", dsa::WeightType::kFp8}})
                               .front();
         },
         "Type of the matrices (default bf16)")
      .type_name("f32|bf16|fp8");
  const auto random =
      app.add_option("--random", command->random,
                     "Random weights of a shape: v32, glm5 or a config.json, with changes as in "
                     "`dsa bench model --shape`")
          .type_name("SHAPE");
  app.add_option("--tokenizer", command->tokenizer,
                 "Folder with the tokenizer for the random model (default: one token per byte)")
      .type_name("DIR")
      .needs(random);
  app.add_option("--seed", command->seed, "Seed of the random weights")
      .show_default()
      .needs(random);
  app.add_option("--shard-gb", command->shard_gb, "Largest size of one file, in GB")
      .range(1e-6, 1e6)
      .show_default();
  app.add_flag("-q,--quiet", command->quiet, "Print no report");
  add_json_option(app, command->json);
  app.footer(kFooter);
  return [command] { return convert(*command); };
}

}  // namespace cli
