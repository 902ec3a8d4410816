// dsa bench attention: one layer at real shape, from short contexts to long ones.
#include <fmt/format.h>

#include <algorithm>
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
using dsa::BenchWeights;
using dsa::LayerMeasure;
using dsa::Status;

constexpr const char* kFooter =
    "Weights and caches are random; hidden states drift as they do in text, so that neighbouring\n"
    "queries select mostly the same tokens (the overlap is measured and shown). A step is one "
    "token\n"
    "(decode) or --chunk tokens (prefill) at the end of the context. Times are per token.\n"
    "\n"
    "Examples:\n"
    "  dsa bench attention --shape v32 --context 4K,32K,128K --attention dsa,dense\n"
    "  dsa bench attention --shape glm5 --phase prefill --context 128K --json\n"
    "  dsa bench attention --shape models/dsa-13m/config.json --weights bf16 --context 1024";

struct Options {
  std::string shape = "v32";
  std::vector<BenchPhase> phases = {BenchPhase::kDecode};
  std::vector<int64_t> contexts = {4096, 32768, 131072};
  std::vector<AttentionMode> attention = {AttentionMode::kDsa, AttentionMode::kDense};
  dsa::LayerBenchOptions layer;
  bool json = false;
};

const char* phase_name(BenchPhase phase) {
  return phase == BenchPhase::kDecode ? "decode" : "prefill";
}
Json to_json(const std::string& shape, const LayerMeasure& measure) {
  auto parts = Json::object();
  for (const dsa::PartMeasure& part : measure.parts) {
    parts.set(part.name, {{"ms", part.ms},
                          {"flops", part.flops},
                          {"bytes", part.bytes},
                          {"limit_ms", part.limit_ms}});
  }
  return {{"shape", shape},
          {"phase", phase_name(measure.phase)},
          {"context", measure.context},
          {"attention", mode_name(measure.attention)},
          {"step_tokens", measure.step_tokens},
          {"sparse", measure.sparse},
          {"int8_first", measure.int8_first},
          {"ms_per_token", measure.ms_per_token.median},
          {"ms_per_token_p10", measure.ms_per_token.low},
          {"ms_per_token_p90", measure.ms_per_token.high},
          {"repetitions", measure.ms_per_token.n},
          {"parts", std::move(parts)},
          {"flops", measure.flops()},
          {"bytes", measure.bytes()},
          {"limit_ms", measure.limit_ms()},
          {"efficiency", measure.efficiency()},
          {"selection_overlap", measure.overlap},
          {"cache_bytes", measure.cache_bytes},
          {"scratch_bytes", measure.scratch_bytes}};
}

constexpr const char* kHeader =
    "phase      context  attention  ms/token   (p10-p90)         project  indexer   select   "
    "attend   "
    "output   limit  of limit  overlap\n";

void print_row(const LayerMeasure& measure) {
  std::string parts;
  for (const dsa::PartMeasure& part : measure.parts)
    parts += fmt::format(" {:>8.3f}", part.ms);
  const std::string spread =
      fmt::format("({:.3f}-{:.3f})", measure.ms_per_token.low, measure.ms_per_token.high);
  print(fmt::format("{:<8} {:>9}  {:<9} {:>9.3f}   {:<16}{} {:>7.3f}  {:>7.0f}%  {:>7}\n",
                    phase_name(measure.phase), group_digits(measure.context),
                    mode_name(measure.attention), measure.ms_per_token.median, spread, parts,
                    measure.limit_ms(), 100 * measure.efficiency(),
                    measure.sparse ? fmt::format("{:.2f}", measure.overlap) : "-"));
}

bool prefills(const Options& options) {
  return std::find(options.phases.begin(), options.phases.end(), BenchPhase::kPrefill) !=
         options.phases.end();
}

Status run_bench(const Options& options) {
  auto shape = read_shape(options.shape);
  if (!shape.ok()) return shape.status();
  auto limits = dsa::measure_machine(options.layer.n_threads);
  if (!limits.ok()) return limits.status();
  dsa::LayerBenchOptions layer = options.layer;
  if (!prefills(options)) layer.prefill_tokens = 1;  // the scratch of decoding alone
  layer.max_context = *std::max_element(options.contexts.begin(), options.contexts.end());
  auto bench = dsa::LayerBench::create(*shape, layer);
  if (!bench.ok()) return bench.status();
  auto document = Json::array();
  document.push_back({{"machine", limits_json(*limits)}});
  if (!options.json) print(limits_text(*limits) + "\n" + kHeader);
  for (const BenchPhase phase : options.phases) {
    for (const int64_t context : options.contexts) {
      for (const AttentionMode mode : options.attention) {
        const auto measure = (*bench)->measure(phase, mode, context);
        if (!measure.ok()) return measure.status();
        if (options.json) {
          document.push_back(to_json(options.shape, *measure));
        } else {
          print_row(*measure);
        }
        if (interrupted()) return Status(dsa::StatusCode::kCancelled, "stopped by Ctrl-C");
      }
    }
  }
  if (options.json) print_json(document);
  return {};
}

}  // namespace

Action add_bench_attention(App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--shape", options->shape,
                 "Layer dimensions: v32, glm5 or a config.json, with changes such "
                 "as\nv32,top_k=512 (default v32)")
      .type_name("SHAPE");
  app.add_option_function(
         "--phase",
         [options](const std::string& text) {
           options->phases = parse_list<BenchPhase>(
               "--phase", text,
               {{"decode", BenchPhase::kDecode}, {"prefill", BenchPhase::kPrefill}});
         },
         "decode, prefill or both (default decode)")
      .type_name("P[,P]");
  add_contexts_option(app, options->contexts);
  add_attention_option(app, options->attention);
  add_weights_option(app, options->layer.weights);
  const auto chunk = add_chunk_option(app, options->layer.prefill_tokens);
  add_repetitions_option(app, options->layer.repetitions);
  add_threads_option(app, options->layer.n_threads);
  add_cache_options(app, options->layer.kv_cache, options->layer.index_cache);
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options, chunk] {
    if (chunk.given() && !prefills(*options)) {
      throw UsageError("--chunk", "has no effect without --phase prefill");
    }
    return run_bench(*options);
  };
}

}  // namespace cli
