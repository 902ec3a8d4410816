// AdamW with decoupled decay over the parameters of a model.
//
//   m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
//   w <- w - rate (decay w + m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps))
// Norms and biases do not decay.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dsa/thread_pool.h"

#include "backprop/train_model.h"

namespace dsa::trainer {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
};

// What differs between the model and its indexers, which learn from different losses.
struct UpdateGroup {
  double rate = 0;
  double gradient_scale = 1;  // from clipping
};

// Thread safety   one thread at a time. Results do not depend on the number of threads.
class AdamW {
 public:
  struct Slot {
    const backprop::Parameter* parameter;
    std::vector<float> mean;    // [size]
    std::vector<float> square;  // [size]
  };

  // Of the parameters that have a gradient. They must outlive this.
  AdamW(std::span<const backprop::Parameter> parameters,
        const AdamWOptions& options,
        ThreadPool* pool);

  // Root of the sum of squares of the gradients of the indexers, or of everything else.
  double gradient_norm(bool of_indexer) const;

  // step: from 1.
  void update(int64_t step, const UpdateGroup& model, const UpdateGroup& indexer);

  std::span<Slot> slots() { return slots_; }
  std::span<const Slot> slots() const { return slots_; }

 private:
  struct SlotPart {  // elements [begin, end) of a slot
    size_t slot;
    size_t begin;
    size_t end;
  };

  AdamWOptions options_;
  ThreadPool* pool_;
  std::vector<Slot> slots_;
  std::vector<SlotPart> chunks_;
};

}  // namespace dsa::trainer
