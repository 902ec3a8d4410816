// dsa bench kernels: every kernel compared with the limit that binds it.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "dsa/cpu.h"
#include "dsa_measure/bench.h"

#include "cli/bench.h"
#include "cli/interrupt.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"

namespace cli {
namespace {

using dsa::KernelMeasure;
using dsa::Status;

constexpr const char* kFooter =
    "Kernels run at DeepSeek-V3.2's shape. The limit of a kernel is the larger of its operations\n"
    "at the peak and its bytes at the bandwidth, both measured for the same tier and threads.\n"
    "\n"
    "Examples:\n"
    "  dsa bench kernels\n"
    "  dsa bench kernels --only attention\n"
    "  dsa bench kernels --tier avx512 --threads 2 --json";

struct Options {
  dsa::KernelBenchOptions bench;
  int n_threads = 0;
  bool json = false;
};

Json to_json(const KernelMeasure& measure) {
  return {{"kernel", measure.kernel},     {"shape", measure.shape},
          {"tier", measure.tier},         {"threads", measure.n_threads},
          {"ms", measure.ms.median},      {"ms_p10", measure.ms.low},
          {"ms_p90", measure.ms.high},    {"repetitions", measure.ms.n},
          {"limit_ms", measure.limit_ms}, {"efficiency", measure.efficiency()},
          {"bound", measure.bound},       {"recall", measure.recall}};
}

void print_row(const KernelMeasure& measure) {
  print(fmt::format("{:<8} {:>7}  {:<22} {:<36} {:>10.4f} {:>10.4f}  {:<6} {:>7.0f}%\n",
                    measure.tier, measure.n_threads, measure.kernel, measure.shape,
                    measure.ms.median, measure.limit_ms, measure.bound,
                    100 * measure.efficiency()));
}

// Before anything is measured: the mistake would come after a minute.
Status check_tier(const std::string& tier) {
  const auto runnable = dsa::cpu_info().runnable;
  if (tier.empty() || std::find(runnable.begin(), runnable.end(), tier) != runnable.end()) {
    return {};
  }
  return Status(
      dsa::StatusCode::kUnsupported,
      fmt::format("tier {}: this CPU runs {}", one_line(tier), fmt::join(runnable, ", ")));
}

Status run_bench(const Options& options) {
  if (auto status = check_tier(options.bench.tier); !status.ok()) return status;
  const int most = options.n_threads > 0 ? options.n_threads : dsa::cpu_info().n_threads;
  dsa::KernelBenchOptions bench = options.bench;
  bench.threads = {1, most};
  if (options.n_threads > 0 || most == 1) bench.threads = {most};
  auto limits = dsa::measure_machine(most);
  if (!limits.ok()) return limits.status();
  auto document = Json::array();
  document.push_back({{"machine", limits_json(*limits)}});
  if (!options.json) {
    print(limits_text(*limits) + "\n");
    print(fmt::format("{:<8} {:>7}  {:<22} {:<36} {:>10} {:>10}  {:<6} {:>8}\n", "tier", "threads",
                      "kernel", "shape", "ms", "limit ms", "bound", "of limit"));
  }
  const Status status = dsa::bench_kernels(bench, [&](const KernelMeasure& measure) {
    if (options.json) {
      document.push_back(to_json(measure));
    } else {
      print_row(measure);
    }
    return !interrupted();
  });
  if (!status.ok()) return status;
  if (interrupted()) return Status(dsa::StatusCode::kCancelled, "stopped by Ctrl-C");
  if (options.json) print_json(document);
  return {};
}

}  // namespace

Action add_bench_kernels(App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--only", options->bench.only, "Measure only kernels whose name contains TEXT")
      .type_name("TEXT");
  app.add_option("--tier", options->bench.tier,
                 "A tier that `dsa cpu` lists as runnable (default: all of them)")
      .type_name("TIER");
  add_repetitions_option(app, options->bench.repetitions);
  add_threads_option(app, options->n_threads);
  add_json_option(app, options->json);
  app.footer(kFooter);
  return [options] { return run_bench(*options); };
}

}  // namespace cli
