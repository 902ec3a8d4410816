// dsa cpu: what this CPU can do and which kernels run on it.
#include "dsa/cpu.h"

#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/io.h"
#include "cli/json.h"
#include "cli/options.h"

namespace cli {
namespace {

constexpr const char* kFooter =
    "The environment variable DSA_CPU_TIER forces a tier other than the fastest.\n"
    "\n"
    "Examples:\n"
    "  dsa cpu\n"
    "  DSA_CPU_TIER=scalar dsa cpu --json";

std::string joined(const std::vector<std::string>& words) {
  return words.empty() ? "none" : fmt::format("{}", fmt::join(words, " "));
}

dsa::Status show_cpu(bool json) {
  auto tier = dsa::active_tier();
  if (!tier.ok()) return tier.status();
  const dsa::CpuInfo cpu = dsa::cpu_info();
  const bool has_quota = cpu.quota_cpus > 0;
  if (json) {
    print_json({{"model_name", cpu.model_name},
                {"architecture", cpu.architecture},
                {"threads", cpu.n_threads},
                {"affinity_cpus", cpu.n_cpus},
                {"quota_cpus", has_quota ? Json(cpu.quota_cpus) : Json()},
                {"quota_file", has_quota ? Json(cpu.quota_file) : Json()},
                {"features", cpu.features},
                {"compiled", cpu.compiled},
                {"runnable", cpu.runnable},
                {"tier", *tier}});
    return {};
  }
  print(fmt::format("cpu             {}\n", cpu.model_name.empty() ? "unknown" : cpu.model_name));
  print(fmt::format("architecture    {}\n", cpu.architecture));
  print(fmt::format("threads         {}\n", cpu.n_threads));
  print(fmt::format("affinity mask   CPUs: {}\n", cpu.n_cpus));
  print(has_quota ? fmt::format("quota           CPUs: {:.4g} ({})\n", cpu.quota_cpus,
                                one_line(cpu.quota_file))
                  : "quota           none\n");
  print(fmt::format("features        {}\n", joined(cpu.features)));
  print(fmt::format("tiers compiled  {}\n", joined(cpu.compiled)));
  print(fmt::format("tiers runnable  {}\n", joined(cpu.runnable)));
  print(fmt::format("tier used       {}\n", *tier));
  return {};
}

}  // namespace

Action add_cpu(App& app) {
  auto json = std::make_shared<bool>(false);
  add_json_option(app, *json);
  app.footer(kFooter);
  return [json] { return show_cpu(*json); };
}

}  // namespace cli
