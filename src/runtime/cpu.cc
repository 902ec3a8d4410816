#include "runtime/cpu.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace dsa {

namespace {

// The kernel's own list: it leaves out what the operating system does not enable.
struct ProcCpu {
  std::string model_name;
  std::vector<std::string> flags;
};

ProcCpu read_proc_cpuinfo() {
  ProcCpu cpu;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name")) cpu.model_name = line.substr(colon + 2);
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(colon + 2));
    for (std::string word; words >> word;)
      cpu.flags.push_back(word);
  }
  return cpu;
}

}  // namespace

HostCpu detect_cpu() {
  // Of x86-64, then of aarch64.
  constexpr std::string_view kFeatures[] = {
      "avx2",        "fma",        "f16c",         "bmi2",     "avx512f",
      "avx512bw",    "avx512dq",   "avx512vl",     "avx512cd", "avx512_vnni",
      "avx512_bf16", "avx512vbmi", "avx512_vbmi2", "amx_bf16", "amx_int8",
      "asimd",       "asimdhp",    "asimddp",      "bf16",     "i8mm",
      "sve",         "sve2",       "svebf16",      "svei8mm",  "sme"};
  const ProcCpu cpu = read_proc_cpuinfo();
  HostCpu info;
  info.model_name = cpu.model_name;
  for (const std::string_view feature : kFeatures) {
    if (std::find(cpu.flags.begin(), cpu.flags.end(), feature) != cpu.flags.end()) {
      info.features.emplace_back(feature);
    }
  }
  return info;
}

// A set of cpu_set_t's 1,024 CPUs is refused where the kernel counts more.
int affinity_cpus() {
  constexpr size_t kMostCpus = size_t{1} << 20;
  for (size_t n_cpus = CPU_SETSIZE; n_cpus <= kMostCpus; n_cpus *= 2) {
    std::vector<cpu_set_t> set(n_cpus / CPU_SETSIZE);
    const size_t set_bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, set_bytes, set.data()) == 0) return CPU_COUNT_S(set_bytes, set.data());
  }
  return 1;
}

int default_threads(const CpuQuota& quota) {
  const int n_cpus = affinity_cpus();
  return quota.quota_us == 0 ? n_cpus
                             : static_cast<int>(std::min<int64_t>(n_cpus, quota.threads()));
}

}  // namespace dsa
