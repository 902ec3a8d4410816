// What the operating system says about this CPU.
#pragma once

#include <string>
#include <vector>

namespace dsa {

struct HostCpu {
  std::string model_name;             // e.g. "AMD EPYC 9645", empty when unknown
  int n_threads = 0;                  // hardware threads this process may run on
  std::vector<std::string> features;  // those the kernels care about, e.g. "avx512_bf16"
};

HostCpu detect_cpu();

// CPUs that this process may run on, at least 1.
int usable_cpus();

}  // namespace dsa
