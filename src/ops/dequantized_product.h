// Products with weights of a format for which the tier has no kernel of its own.
#pragma once

#include "kernels/matmul_kernels.h"

namespace dsa {

// As the kernels: C (+)= A W^T (transposed) or A W, args.a in f32. Rows are dequantised a panel at
// a time, on the stack (64 KB), and multiplied by the kernels of f32 weights. An element's sum over
// k is cut at multiples of 1024, wherever it stands in C, so that the kernels' contract holds.
// transposed = false: columns of w begin at the border of a block.
void multiply_dequantized(const kernels::MatmulKernels& kernels,
                          DType weights,
                          bool transposed,
                          const kernels::MatmulArgs& args);

}  // namespace dsa
