// Where a block puts what it computes.
#pragma once

#include <cstddef>

namespace dsa {

// Rows of y, one for each token of the batch. The plain residual has them added to its stream, so
// that the sum costs no pass over memory; a residual that mixes y into several streams takes them
// in a buffer of its own.
struct BlockOutput {
  float* data = nullptr;
  size_t ld = 0;            // values from one row to the next
  bool accumulate = false;  // y is added to what is there, instead of taking its place
};

}  // namespace dsa
