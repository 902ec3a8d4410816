#include "cli/run_report.h"

#include <fmt/format.h>

#include <cmath>

#include "dsa/engine.h"

#include "cli/json.h"
#include "cli/options.h"
#include "cli/text.h"

namespace cli {
namespace {

int64_t n_held(const Runner& runner) {
  return static_cast<int64_t>(runner.generator->held().size());
}

std::string speed_line(const char* what, int64_t n_tokens, double seconds) {
  if (n_tokens == 0) return fmt::format("{:<10}{:>8} tokens\n", what, 0);
  return fmt::format("{:<10}{:>8} tokens in {:>7}  {:>7} tokens/s\n", what, group_digits(n_tokens),
                     format_seconds(seconds), format_rate(n_tokens, seconds));
}

std::string finish_text(const Runner& runner, Finish finish) {
  switch (finish) {
    case Finish::kContextFull:
      return fmt::format("stopped   the context of {} tokens is full (--ctx)\n",
                         group_digits(runner.context));
    case Finish::kInterrupted:
      return "stopped   by Ctrl-C\n";
    case Finish::kLength:
    case Finish::kEndOfText:
    case Finish::kStopString:
      break;
  }
  return "";
}

std::string sampling_text(const dsa::SamplerOptions& options) {
  if (!(options.temperature > 0)) return "greedy";
  std::string text = fmt::format("temperature {}", options.temperature);
  if (options.top_k > 0) text += fmt::format(", top-k {}", options.top_k);
  if (options.top_p < 1) text += fmt::format(", top-p {}", options.top_p);
  if (options.min_p > 0) text += fmt::format(", min-p {}", options.min_p);
  return text + fmt::format(", seed {}", options.seed);
}

// The shortest decimal that is this float: 0.8, not 0.800000011920929.
double shortest(float value) {
  return std::stod(fmt::format("{}", value));
}

}  // namespace

std::string report_text(const Runner& runner, const GeneratedText& generation) {
  const dsa::MemoryUse memory = runner.engine->memory();
  std::string out =
      speed_line("prefill", generation.n_prompt - generation.n_reused, generation.prefill_seconds);
  out += speed_line("decode", generation.n_decoded, generation.decode_seconds);
  out += fmt::format("memory    weights {}, latent cache {}, index cache {}, scratch {}\n",
                     format_bytes(memory.weight_bytes), format_bytes(memory.latent_cache_bytes),
                     format_bytes(memory.index_cache_bytes), format_bytes(memory.scratch_bytes));
  out += fmt::format("sampling  {}\n", sampling_text(runner.sampling));
  out += finish_text(runner, generation.finish);
  out += fmt::format("attention {}",
                     attention_summary(runner.engine->options().attention, n_held(runner)));
  return out;
}

std::string report_line(const Runner& runner, const GeneratedText& generation) {
  const int64_t n_read = generation.n_prompt - generation.n_reused;
  return fmt::format(
      "[prefill {} tokens at {} tokens/s, {} from the cache; decode {} at {} tokens/s; {}]",
      group_digits(n_read), format_rate(n_read, generation.prefill_seconds),
      group_digits(generation.n_reused), group_digits(static_cast<int64_t>(generation.ids.size())),
      format_rate(generation.n_decoded, generation.decode_seconds),
      attention_summary(runner.engine->options().attention, n_held(runner)));
}

Json generation_json(const GeneratedText& generation) {
  const auto rate = [](int64_t n, double seconds) {
    return seconds > 0 ? static_cast<double>(n) / seconds : 0.0;
  };
  const int64_t n_read = generation.n_prompt - generation.n_reused;
  return {{"text", generation.text},
          {"ids", generation.ids},
          {"finish_reason", finish_name(generation.finish)},
          {"prompt_tokens", generation.n_prompt},
          {"reused_tokens", generation.n_reused},
          {"prefill_seconds", generation.prefill_seconds},
          {"prefill_tokens_per_second", rate(n_read, generation.prefill_seconds)},
          {"decode_seconds", generation.decode_seconds},
          {"decode_tokens_per_second", rate(generation.n_decoded, generation.decode_seconds)}};
}

Json runner_json(const Runner& runner) {
  const dsa::MemoryUse memory = runner.engine->memory();
  const dsa::EngineOptions& options = runner.engine->options();
  const int64_t attended = attended_tokens(options.attention, n_held(runner));
  const bool dsa_mode = options.attention.mode == dsa::AttentionMode::kDsa;
  return {{"load_seconds", runner.load_seconds},
          {"sampling",
           {{"temperature", shortest(runner.sampling.temperature)},
            {"top_k", runner.sampling.top_k},
            {"top_p", shortest(runner.sampling.top_p)},
            {"min_p", shortest(runner.sampling.min_p)},
            {"repeat_penalty", shortest(runner.sampling.repeat_penalty)},
            {"seed", runner.sampling.seed}}},
          {"memory",
           {{"weight_bytes", memory.weight_bytes},
            {"latent_cache_bytes", memory.latent_cache_bytes},
            {"index_cache_bytes", memory.index_cache_bytes},
            {"scratch_bytes", memory.scratch_bytes}}},
          {"attention",
           {{"mode", attention_name(options.attention)},
            {"kv_cache", cache_format_name(options.kv_cache)},
            {"index_cache", cache_format_name(options.index_cache)},
            {"dsa_active", dsa_mode && n_held(runner) > options.attention.top_k},
            {"top_k", options.attention.top_k},
            {"context_tokens", n_held(runner)},
            {"attended_tokens", attended}}}};
}

}  // namespace cli
