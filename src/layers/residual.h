// The residual stream: what blocks read, and what takes their output.
//
// For each half of a layer the pass calls read(), runs the block on what it gives with output() as
// its target, and calls add(). Here the stream is one row a token and blocks add to it in place, so
// output() is the stream and add() has nothing to do. A residual of several streams
// (hyper-connections) mixes them to the block's input in read(), gives a buffer of its own as
// output(), and mixes that into the streams in add(): it is another class with these functions, and
// the blocks do not change.
#pragma once

#include <cstddef>
#include <vector>

#include "layers/block_output.h"
#include "ops/context.h"
#include "ops/matmul.h"
#include "ops/rows.h"
#include "runtime/scratch.h"

namespace dsa {

class Residual {
 public:
  // eps: of the norms. twins: all that any block reads.
  Residual(const OpContext& context, size_t width, float eps, Twins twins);

  void plan(ScratchPlan* plan, size_t max_rows);
  void begin(size_t n_rows) { n_rows_ = n_rows; }

  size_t width() const { return width_; }

  // Row i of the stream, [width]: the token's embedding goes here; at the end, what the final norm
  // reads.
  float* row(size_t i) const { return stream_ + i * width_; }

  // A block's input, RMSNorm(stream), [n_rows, width], with the twins that the block reads; valid
  // until the next read().
  Activation read(const std::vector<float>& norm_weight, Twins twins);
  BlockOutput output() const { return {stream_, width_, true}; }
  void add() {}

 private:
  const OpContext context_;
  const size_t width_;
  const float eps_;
  const Twins twins_;
  size_t n_rows_ = 0;
  float* stream_ = nullptr;  // [rows, width]
  RowBuffer normed_;         // [rows, width]
};

}  // namespace dsa
