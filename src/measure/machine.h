// The limits of the machine for one tier of kernels.
#pragma once

#include "dsa/bench.h"
#include "dsa/thread_pool.h"

#include "kernels/kernel_table.h"

namespace dsa {

Result<MachineLimits> measure_machine(const kernels::KernelTable& table, ThreadPool* pool);

}  // namespace dsa
