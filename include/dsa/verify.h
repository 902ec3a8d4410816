// Self-checks: every kernel of every tier this CPU runs against its float64 oracle.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dsa/status.h"

#pragma GCC visibility push(default)

namespace dsa {

struct KernelCheck {
  std::string tier;
  std::string kernel;  // with its format, e.g. "attend/fp8"
  bool passed = false;
  double worst_error = 0;  // largest |difference| / tolerance over the cases; <= 1 passes
  int n_cases = 0;
};

// Runs the checks in a fixed order; `done` (may be null) is called after each.
std::vector<KernelCheck> verify_kernels(const std::function<void(const KernelCheck&)>& done);

}  // namespace dsa

#pragma GCC visibility pop
