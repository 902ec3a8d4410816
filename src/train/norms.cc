#include "train/norms.h"

#include <cstring>

namespace dsa {

NormGradients::NormGradients(const Run& run, size_t count, size_t width)
    : run_(run), count_(count), width_(width), parts_(run.shared.norm_parts) {
  std::memset(parts_, 0, run.context.n_threads() * count * width * sizeof(float));
}

void NormGradients::add_to(size_t which, float* gradient) const {
  for (size_t part = 0; part < run_.context.n_threads(); ++part)
    run_.context.vector().add_scaled(of(part, which), 1.0F, width_, gradient);
}

void rms_norm_rows(
    const Run& run, const Rows& x, const Parameter* weight, size_t width, const Rows& y) {
  for_rows(run.context, run.n_tokens(), [&](size_t t) {
    run.context.vector().rms_norm(x.row(t), vector_of(weight), width, run.dims.eps, y.row(t));
  });
}

void rms_norm_rows_backward(const Run& run,
                            const Rows& x,
                            const Parameter* weight,
                            size_t width,
                            const Rows& dy,
                            const Rows& dx) {
  const NormGradients sums(run, 1, width);
  for_each_part(run.context, run.n_tokens(), [&](size_t part, size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      run.context.train().rms_norm_backward(x.row(t), vector_of(weight), dy.row(t), width,
                                            run.dims.eps, dx.row(t), sums.of(part, 0));
    }
  });
  sums.add_to(0, weight->gradient);
}

}  // namespace dsa
