// The instruction-set tiers of this build: the rows of src/kernels/CMakeLists.txt for its
// architecture.
#pragma once

#include <span>

#include "kernels/kernel_table.h"

namespace dsa::kernels {

struct Tier {
  const KernelTable* table;
  bool runs_here;  // this CPU has the instructions, and the operating system saves the registers
};

// Slowest first: the first is `scalar`, which runs everywhere.
std::span<const Tier> tiers() noexcept;

const KernelTable& scalar_table() noexcept;

// The tier named by the environment variable DSA_CPU_TIER, else the fastest this CPU runs. Null
// when DSA_CPU_TIER names no tier this CPU can run: ops/context.cc has the words for the user.
const KernelTable* chosen_table() noexcept;

// What this build is for, e.g. "x86_64", "aarch64".
const char* architecture() noexcept;

}  // namespace dsa::kernels
