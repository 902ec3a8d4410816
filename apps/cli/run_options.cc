#include "cli/run_options.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "cli/command_line.h"

namespace cli {

using dsa::Status;

dsa::SamplerOptions sampler_options(const SamplingOptions& given,
                                    const dsa::SamplerOptions& defaults) {
  dsa::SamplerOptions out = defaults;
  out.temperature = given.temperature.value_or(out.temperature);
  out.top_p = given.top_p.value_or(out.top_p);
  out.top_k = given.top_k.value_or(out.top_k);
  out.min_p = given.min_p.value_or(out.min_p);
  out.repeat_penalty = given.repeat_penalty.value_or(out.repeat_penalty);
  out.seed = given.seed ? *given.seed : std::random_device()();
  const auto sampler = dsa::Sampler::create(out);
  if (sampler.ok()) return out;
  // The defaults are sound, so an option is not: "top_p: 2, want ..." is about --top-p.
  std::string message = sampler.status().message();
  std::replace(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(message.find(':')),
               '_', '-');
  throw UsageError("--" + message);
}

GenerateOptions generate_options(const RunOptions& options, const Runner& runner) {
  return {options.max_tokens, runner.context, options.stop, runner.end_ids, options.quiet};
}

Status start_engine(const RunOptions& options, Runner& runner) {
  const auto start = std::chrono::steady_clock::now();
  auto sampler = dsa::Sampler::create(runner.sampling);
  if (!sampler.ok()) return sampler.status();
  auto engine = make_engine(runner.text.model, options.model, runner.context);
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
