// Whether this CPU and its operating system run the tier's instructions. Asked of the baseline.
#pragma once

namespace dsa::kernels::avx2 {

bool runs_here() noexcept;

}  // namespace dsa::kernels::avx2
