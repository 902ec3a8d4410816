// dsa bench: what the library reaches on this machine, beside what the machine can do.
#include "cli/bench.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "dsa/model_config.h"

#include "cli/io.h"

namespace cli {
namespace {

constexpr const char* kFooter =
    "Limits of the machine are measured first, in the same run; every figure is the median of\n"
    "repeated runs and stands beside its limit.\n"
    "\n"
    "Examples:\n"
    "  dsa bench kernels --tier avx512\n"
    "  dsa bench attention --shape v32 --context 4K,32K,128K --attention dsa,dense\n"
    "  dsa bench attention --shape glm5 --phase prefill --context 64K --json";

double giga(double value) {
  return value * 1e-9;
}

}  // namespace

dsa::Result<dsa::ModelConfig> read_shape(const std::string& shape) {
  auto published = dsa::published_shape(shape);
  if (published.ok()) return published;
  const auto text = read_input(shape);
  if (text.ok()) return dsa::parse_model_config(*text, shape);
  return dsa::Status(
      dsa::StatusCode::kNotFound,
      fmt::format("shape {}: no such file, want v32, glm5 or a config.json", one_line(shape)));
}

std::vector<int64_t> parse_contexts(const std::string& option, const std::string& text) {
  std::vector<int64_t> contexts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    int64_t value = 0;
    const char* end = text.data() + comma;
    auto parsed = std::from_chars(text.data() + begin, end, value);
    int64_t unit = 1;
    if (parsed.ec == std::errc() && parsed.ptr + 1 == end && (*parsed.ptr | 0x20) == 'k') {
      unit = 1024;
    } else if (parsed.ec == std::errc() && parsed.ptr + 1 == end && (*parsed.ptr | 0x20) == 'm') {
      unit = 1024 * 1024;
    }
    if (unit > 1) ++parsed.ptr;
    constexpr int64_t kMost = int64_t{1} << 24;
    if (parsed.ec != std::errc() || parsed.ptr != end || value < 1 || value > kMost / unit) {
      throw CLI::ValidationError(
          option, fmt::format("\"{}\", want numbers of tokens such as 4096,32K,1M", text));
    }
    contexts.push_back(value * unit);
    begin = comma + 1;
  }
  return contexts;
}

std::string limits_text(const dsa::MachineLimits& limits) {
  return fmt::format(
      "machine  {}, {}, {} threads, dsa {} ({})\n"
      "limits   bf16 {:.0f} GFLOP/s, int8 {:.0f} GOP/s, f32 {:.0f} GFLOP/s, read {:.1f} GB/s, "
      "rows of 656 B {:.1f} GB/s\n",
      limits.cpu.empty() ? "unknown CPU" : limits.cpu, limits.tier, limits.n_threads, DSA_VERSION,
      DSA_COMMIT, giga(limits.bf16_flops), giga(limits.int8_ops), giga(limits.f32_flops),
      giga(limits.read_bytes), giga(limits.gather_bytes));
}

nlohmann::ordered_json limits_json(const dsa::MachineLimits& limits) {
  return {{"cpu", limits.cpu},
          {"tier", limits.tier},
          {"threads", limits.n_threads},
          {"version", DSA_VERSION},
          {"commit", DSA_COMMIT},
          {"bf16_flops", limits.bf16_flops},
          {"int8_ops", limits.int8_ops},
          {"f32_flops", limits.f32_flops},
          {"read_bytes_per_second", limits.read_bytes},
          {"gather_bytes_per_second", limits.gather_bytes}};
}

Action add_bench(CLI::App& app) {
  struct Kind {
    const char* name;
    const char* summary;
    Action (*add)(CLI::App& app);
  };
  constexpr Kind kKinds[] = {
      {"attention", "One attention layer against the context, part by part", add_bench_attention},
      {"kernels", "Every kernel of every tier against its limit", add_bench_kernels},
  };
  app.require_subcommand(1);
  app.footer(kFooter);
  auto actions = std::make_shared<std::map<const CLI::App*, Action>>();
  for (const Kind& kind : kKinds) {
    CLI::App* sub = app.add_subcommand(kind.name, kind.summary);
    sub->group("Kinds");
    (*actions)[sub] = kind.add(*sub);
  }
  return [&app, actions] { return actions->at(app.get_subcommands().front())(); };
}

}  // namespace cli
