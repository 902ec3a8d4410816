// What this CPU can do, and which kernels the library runs on it.
#pragma once

#include <string>
#include <vector>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

struct CpuInfo {
  std::string model_name;             // e.g. "AMD EPYC 9645", empty when unknown
  std::string architecture;           // of this build: "x86_64" or "aarch64"
  int n_threads = 0;                  // by default: as many as can run at the same time
  int n_cpus = 0;                     // hardware threads in this process's affinity mask
  double quota_cpus = 0;              // that its control groups allow; 0: they set no limit
  std::string quota_file;             // that sets this limit, e.g. "/sys/fs/cgroup/a/cpu.max"
  std::vector<std::string> features;  // those the kernels use, e.g. "avx512_bf16"
  std::vector<std::string> compiled;  // tiers in this build, slowest first
  std::vector<std::string> runnable;  // tiers this CPU can run, fastest first
};

CpuInfo cpu_info();

// Name of the tier that kernels run on: the environment variable DSA_CPU_TIER when it is set and
// not empty, else the fastest runnable one. Read by Engine::create and by each call of an operation
// of dsa/ops.h.
//   Errors  kUnsupported: DSA_CPU_TIER names no tier, or one this CPU cannot run.
Result<std::string> active_tier();

}  // namespace dsa

#pragma GCC visibility pop
