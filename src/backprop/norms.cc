#include "backprop/norms.h"

#include <cstring>

namespace dsa::backprop {

NormGradients::NormGradients(const LayerWork& work, size_t count, size_t width)
    : work_(work), count_(count), width_(width), parts_(work.shared.norm_parts) {
  std::memset(parts_, 0, work.context.n_threads() * count * width * sizeof(float));
}

void NormGradients::add_to(size_t which, float* gradient) const {
  for (size_t part = 0; part < work_.context.n_threads(); ++part)
    work_.context.vector().add_scaled(of(part, which), 1.0F, width_, gradient);
}

void rms_norm_rows(
    const LayerWork& work, const Rows& x, const Parameter* weight, size_t width, const Rows& y) {
  for_rows(work.context, work.n_tokens(), [&](size_t t) {
    work.context.vector().rms_norm(x.row(t), vector_of(weight), width, work.dims.eps, y.row(t));
  });
}

void rms_norm_rows_backward(const LayerWork& work,
                            const Rows& x,
                            const Parameter* weight,
                            size_t width,
                            const Rows& dy,
                            const Rows& dx) {
  const NormGradients sums(work, 1, width);
  for_each_part(work.context, work.n_tokens(), [&](size_t part, size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      work.context.train().rms_norm_backward(x.row(t), vector_of(weight), dy.row(t), width,
                                             work.dims.eps, dx.row(t), sums.of(part, 0));
    }
  });
  sums.add_to(0, weight->gradient);
}

}  // namespace dsa::backprop
