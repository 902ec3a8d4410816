// What the parts of a layer work on: one batch in one model.
#pragma once

#include "backprop/layer_state.h"
#include "backprop/products.h"
#include "common/math.h"

namespace dsa::backprop {

struct LayerWork {
  const TrainContext& context;
  const ModelConfig& config;
  const TrainDims& dims;
  const BatchLayout& batch;
  const SharedState& shared;

  size_t n_tokens() const { return batch.n_tokens; }
};

// Memory of one worker, cut into pieces by who uses it. Pieces are 64-byte aligned.
class WorkerMemory {
 public:
  WorkerMemory(const SharedState& shared, size_t worker, size_t offset = 0)
      : next_(shared.worker + worker * shared.worker_bytes + offset) {}

  template <class T>
  T* take(size_t n) {
    void* at = next_;
    next_ += round_up<size_t>(n * sizeof(T), 64);
    return static_cast<T*>(at);
  }

 private:
  uint8_t* next_;
};

}  // namespace dsa::backprop
