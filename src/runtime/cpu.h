// What the operating system says about this CPU.
#pragma once

#include "dsa/cpu.h"

namespace dsa {

// Everything of CpuInfo but the tiers, which the runtime layer does not know.
CpuInfo detect_cpu();

}  // namespace dsa
