// dsa bench model: prefill and decode of a whole model against the context.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "dsa_measure/bench.h"

#include "cli/bench.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/text.h"

namespace cli {
namespace {

using dsa::AttentionMode;
using dsa::BenchPhase;
using dsa::Status;

constexpr const char* kFooter =
    "Caches are filled with random rows to each context; then steps of --chunk tokens (prefill)\n"
    "and of one token (decode) at its end are timed. With --shape the weights are random too.\n"
    "\n"
    "Examples:\n"
    "  dsa bench model -m models/dsa-13m --context 256,1K\n"
    "  dsa bench model --shape v32,layers=2,experts=8,vocab=4096 --context 4K,128K\n"
    "  dsa bench model --shape glm5,layers=1,vocab=4096 --attention dsa --context 64K --json";

struct Options {
  std::string dir;
  dsa::ConfigOptions config;
  std::string shape;
  dsa::BenchWeights weights = dsa::BenchWeights::kFp8;
  std::vector<int64_t> contexts = {4096, 32768, 131072};
  std::vector<AttentionMode> attention = {AttentionMode::kDsa, AttentionMode::kDense};
  dsa::ModelBenchOptions bench;
  bool json = false;
};

// Largest resident memory of this process so far, in bytes; 0 where the system does not say.
int64_t peak_memory() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

// What was used before (measuring the machine reads a large table) does not count.
void forget_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

struct Row {
  AttentionMode attention;
  int64_t context;
  dsa::Timing prefill;
  dsa::Timing decode;
  int64_t cache_bytes;
  int64_t scratch_bytes;
};

double per_second(const dsa::Timing& ms_per_token) {
  return 1e3 / ms_per_token.median;
}

Json to_json(const std::string& name, const Row& row) {
  return {{"model", name},
          {"context", row.context},
          {"attention", mode_name(row.attention)},
          {"prefill_tokens_per_second", per_second(row.prefill)},
          {"prefill_ms_per_token", row.prefill.median},
          {"decode_tokens_per_second", per_second(row.decode)},
          {"decode_ms_per_token", row.decode.median},
          {"decode_ms_per_token_p10", row.decode.low},
          {"decode_ms_per_token_p90", row.decode.high},
          {"repetitions", row.decode.n},
          {"cache_bytes", row.cache_bytes},
          {"scratch_bytes", row.scratch_bytes},
          {"peak_memory_bytes", peak_memory()}};
}

void print_row(const Row& row) {
  const std::string spread = fmt::format("({:.3f}-{:.3f})", row.decode.low, row.decode.high);
  print(fmt::format("{:>9}  {:<9} {:>11.1f}  {:>11.1f}  {:>12.3f}  {:<17} {:>10}\n",
                    group_digits(row.context), mode_name(row.attention), per_second(row.prefill),
                    per_second(row.decode), row.decode.median, spread,
                    format_bytes(peak_memory())));
}

dsa::Result<std::shared_ptr<const dsa::Model>> open_or_make_model(const Options& options) {
  if (!options.dir.empty()) return open_model(options.dir, options.config);
  auto shape = read_shape(options.shape);
  if (!shape.ok()) return shape.status();
  return dsa::random_model(*shape, options.weights);
}

dsa::Result<Row> measure(dsa::ModelBench& bench, AttentionMode attention, int64_t context) {
  const auto prefill = bench.measure(BenchPhase::kPrefill, context);
  if (!prefill.ok()) return prefill.status();
  const auto decode = bench.measure(BenchPhase::kDecode, context);
  if (!decode.ok()) return decode.status();
  return Row{attention, context, *prefill, *decode, bench.cache_bytes(), bench.scratch_bytes()};
}

Status run_bench(const Options& options) {
  if (options.dir.empty() == options.shape.empty()) {
    throw UsageError("--model", "want either -m DIR or --shape SHAPE");
  }
  auto limits = dsa::measure_machine(options.bench.n_threads);
  if (!limits.ok()) return limits.status();
  forget_peak_memory();
  auto model = open_or_make_model(options);
  if (!model.ok()) return model.status();
  const std::string& name = options.dir.empty() ? options.shape : options.dir;
  auto document = Json::array();
  document.push_back({{"machine", limits_json(*limits)}});
  if (!options.json) {
    print(limits_text(*limits) + "\n");
    print(
        "  context  attention  prefill t/s   decode t/s  decode ms/t    (p10-p90)         "
        "memory\n");
  }
  for (const AttentionMode attention : options.attention) {
    dsa::ModelBenchOptions wanted = options.bench;
    wanted.attention = attention;
    wanted.max_context = *std::max_element(options.contexts.begin(), options.contexts.end());
    auto bench = dsa::ModelBench::create(*model, wanted);
    if (!bench.ok()) return bench.status();
    for (const int64_t context : options.contexts) {
      const auto row = measure(**bench, attention, context);
      if (!row.ok()) return row.status();
      if (options.json) {
        document.push_back(to_json(name, *row));
      } else {
        print_row(*row);
      }
      if (interrupted()) return Status(dsa::StatusCode::kCancelled, "stopped by Ctrl-C");
    }
  }
  if (options.json) print_json(document);
  return {};
}

}  // namespace

Action add_bench_model(App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("-m,--model", options->dir, "Checkpoint directory").type_name("DIR");
  add_config_options(app, options->config);
  const auto shape =
      app.add_option(
             "--shape", options->shape,
             "Random weights of this shape: v32, glm5 or a config.json, with changes such as\n"
             "v32,layers=2,experts=8,dense=1,vocab=4096")
          .type_name("SHAPE");
  add_contexts_option(app, options->contexts);
  add_attention_option(app, options->attention);
  add_weights_option(app, options->weights).needs(shape);
  add_chunk_option(app, options->bench.prefill_tokens);
  add_repetitions_option(app, options->bench.repetitions);
  add_threads_option(app, options->bench.n_threads);
  add_cache_options(app, options->bench.kv_cache, options->bench.index_cache);
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options] { return run_bench(*options); };
}

}  // namespace cli
