#include "cli/run_options.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <random>
#include <utility>

namespace cli {

using dsa::Result;
using dsa::Status;

Result<dsa::SamplerOptions> sampler_options(const RunOptions& options) {
  auto defaults = default_sampling(options.model.dir);
  if (!defaults.ok()) return defaults;
  const SamplingOptions& given = options.sampling;
  dsa::SamplerOptions out = *defaults;
  out.temperature = given.temperature.value_or(out.temperature);
  out.top_p = given.top_p.value_or(out.top_p);
  out.top_k = given.top_k.value_or(out.top_k);
  out.min_p = given.min_p.value_or(out.min_p);
  out.repeat_penalty = given.repeat_penalty.value_or(out.repeat_penalty);
  out.seed = given.seed ? *given.seed : std::random_device()();
  return out;
}

Status start_engine(const RunOptions& options, Runner& runner) {
  const auto start = std::chrono::steady_clock::now();
  auto sampler = dsa::Sampler::create(runner.sampling);
  if (!sampler.ok()) return sampler.status();
  auto engine =
      dsa::Engine::create(runner.text.model, engine_options(options.model, runner.context));
  if (!engine.ok()) return engine.status();
  runner.engine = std::move(*engine);
  if (options.explain > 0) runner.explain = std::make_unique<Explain>(options.explain);
  runner.generator = std::make_unique<Generator>(*runner.engine, runner.text.tokenizer,
                                                 std::move(*sampler), runner.explain.get());
  runner.load_seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return Status();
}

}  // namespace cli
