#include "layers/residual.h"

namespace dsa {

Residual::Residual(const OpContext& context, size_t width, float eps, Twins twins)
    : context_(context), width_(width), eps_(eps), twins_(twins) {}

void Residual::plan(ScratchPlan* plan, size_t max_rows) {
  plan->add(&stream_, max_rows * width_);
  plan_buffer(plan, &normed_, max_rows, width_, twins_);
}

Activation Residual::read(const std::vector<float>& norm_weight, Twins twins) {
  normalise_rows(context_, stream_, n_rows_, norm_weight, eps_, twins, normed_);
  return normed_.activation(twins);
}

}  // namespace dsa
