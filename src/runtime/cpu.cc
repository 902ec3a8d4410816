#include "runtime/cpu.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "dsa/thread_pool.h"

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
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(colon + 2));
    for (std::string word; words >> word;)
      cpu.flags.push_back(word);
  }
  return cpu;
}

}  // namespace

HostCpu detect_cpu() {
  constexpr std::string_view kFeatures[] = {
      "avx2",        "fma",        "f16c",         "bmi2",     "avx512f",
      "avx512bw",    "avx512dq",   "avx512vl",     "avx512cd", "avx512_vnni",
      "avx512_bf16", "avx512vbmi", "avx512_vbmi2", "amx_bf16", "amx_int8"};
  const ProcCpu cpu = read_proc_cpuinfo();
  HostCpu info;
  info.model_name = cpu.model_name;
  info.n_threads = ThreadPool(0).n_threads();
  for (const std::string_view feature : kFeatures) {
    if (std::find(cpu.flags.begin(), cpu.flags.end(), feature) != cpu.flags.end()) {
      info.features.emplace_back(feature);
    }
  }
  return info;
}

}  // namespace dsa
