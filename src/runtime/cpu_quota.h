// CPU time that control groups allow this process.
#pragma once

#include <cstdint>
#include <string>

namespace dsa {

// quota_us of CPU time in each period_us: quota_us / period_us CPUs.
struct CpuQuota {
  int64_t quota_us = 0;  // 0: no limit
  int64_t period_us = 1;
  std::string file;  // that says so

  double cpus() const { return static_cast<double>(quota_us) / static_cast<double>(period_us); }
  // Threads that can use it up: rounded up, at least 1.
  int64_t threads() const { return quota_us / period_us + (quota_us % period_us != 0); }
};

// The smallest quota of the process's own groups and the groups they lie in, as far as they can be
// seen: version 2 (cpu.max) and version 1 (cpu.cfs_quota_us, cpu.cfs_period_us), wherever they are
// mounted. A file that does not exist or that cannot be understood sets no limit.
// `root` stands before the path of every file that is read: a folder in place of "/".
CpuQuota read_cpu_quota(const std::string& root = "");

}  // namespace dsa
