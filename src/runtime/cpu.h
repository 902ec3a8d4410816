// What the operating system says about this CPU.
#pragma once

#include <string>
#include <vector>

#include "runtime/cpu_quota.h"

namespace dsa {

struct HostCpu {
  std::string model_name;             // e.g. "AMD EPYC 9645", empty when unknown
  std::vector<std::string> features;  // those the kernels care about, e.g. "avx512_bf16"
};

HostCpu detect_cpu();

// CPUs in the process's affinity mask, at least 1.
int affinity_cpus();

// Threads that can run at the same time: as many as there are CPUs in the mask, or fewer where
// control groups give less CPU time.
int default_threads(const CpuQuota& quota = read_cpu_quota());

}  // namespace dsa
