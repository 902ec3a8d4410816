// Norms of rows and their gradients.
#pragma once

#include "backprop/layer_work.h"

namespace dsa::backprop {

// Norm weights and biases are f32 wherever they come from.
inline const float* vector_of(const Parameter* parameter) {
  return static_cast<const float*>(parameter->data);
}

// Gradients of vectors of `width`, summed over rows part by part and then in the order of parts.
class NormGradients {
 public:
  // count vectors, at most 2.
  NormGradients(const LayerWork& work, size_t count, size_t width);

  float* of(size_t part, size_t which) const { return parts_ + (part * count_ + which) * width_; }

  void add_to(size_t which, float* gradient) const;

 private:
  const LayerWork& work_;
  size_t count_;
  size_t width_;
  float* parts_;
};

// y rows = rms_norm(x rows), [n_tokens, width].
void rms_norm_rows(
    const LayerWork& work, const Rows& x, const Parameter* weight, size_t width, const Rows& y);

// dx rows += its gradient; the weight's gradient too.
void rms_norm_rows_backward(const LayerWork& work,
                            const Rows& x,
                            const Parameter* weight,
                            size_t width,
                            const Rows& dy,
                            const Rows& dx);

}  // namespace dsa::backprop
