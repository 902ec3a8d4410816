// What every operation runs on: a tier's kernels, and threads.
#pragma once

#include "dsa/executor.h"
#include "dsa/status.h"

#include "kernels/kernel_table.h"
#include "ops/part_clock.h"

namespace dsa {

struct OpContext {
  const kernels::KernelTable* kernels = nullptr;
  Executor* pool = nullptr;
  PartClock* clock = nullptr;  // null: nobody asks where the time goes
  // Products in f32 whatever the weights want, for exact comparisons.
  bool f32_products = false;

  const kernels::VectorKernels& vector() const { return *kernels->vector; }
  void enter(Part part) const {
    if (clock != nullptr) clock->enter(part);
  }
};

// The kernels DSA_CPU_TIER asks for, or the best this CPU runs.
//   Errors  kUnsupported: the variable names no tier that runs here.
Result<const kernels::KernelTable*> select_kernels();

}  // namespace dsa
