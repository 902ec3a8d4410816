#include "ops/context.h"

#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dsa/cpu.h"

#include "common/status_macros.h"
#include "kernels/tiers.h"
#include "runtime/cpu.h"

namespace dsa {

namespace {

std::vector<std::string> compiled_tiers() {
  std::vector<std::string> names;
  for (const kernels::Tier& tier : kernels::tiers())
    names.emplace_back(tier.table->tier_name);
  return names;
}

std::vector<std::string> runnable_tiers() {
  std::vector<std::string> names;
  const std::span<const kernels::Tier> tiers = kernels::tiers();
  for (auto tier = tiers.rbegin(); tier != tiers.rend(); ++tier) {
    if (tier->runs_here) names.emplace_back(tier->table->tier_name);
  }
  return names;
}

}  // namespace

Result<const kernels::KernelTable*> select_kernels() {
  if (const kernels::KernelTable* table = kernels::chosen_table()) return table;
  return unsupported("DSA_CPU_TIER: \"{}\", want one of {} on this CPU; this build for {} has {}",
                     std::getenv("DSA_CPU_TIER"), fmt::join(runnable_tiers(), ", "),
                     kernels::architecture(), fmt::join(compiled_tiers(), ", "));
}

CpuInfo cpu_info() {
  HostCpu cpu = detect_cpu();
  CpuInfo info;
  info.model_name = std::move(cpu.model_name);
  info.architecture = kernels::architecture();
  const CpuQuota quota = read_cpu_quota();
  info.n_threads = default_threads(quota);
  info.n_cpus = affinity_cpus();
  info.quota_cpus = quota.cpus();
  info.quota_file = quota.file;
  info.features = std::move(cpu.features);
  info.compiled = compiled_tiers();
  info.runnable = runnable_tiers();
  return info;
}

Result<std::string> active_tier() {
  DSA_ASSIGN_OR_RETURN(const kernels::KernelTable* table, select_kernels());
  return std::string(table->tier_name);
}

}  // namespace dsa
