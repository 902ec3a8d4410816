#include "layers/residual.h"

namespace dsa {

Residual::Residual(const OpContext& context, size_t width, float eps, bool bf16)
    : context_(context), width_(width), eps_(eps), bf16_(bf16) {}

void Residual::plan(ScratchPlan* plan, size_t max_rows) {
  plan->add(&stream_, max_rows * width_);
  plan_buffer(plan, &normed_, max_rows, width_, bf16_);
}

Activation Residual::read(const std::vector<float>& norm_weight) {
  normalise_rows(context_, stream_, n_rows_, norm_weight, eps_, normed_);
  return {normed_.f32, normed_.bf16, normed_.ld};
}

}  // namespace dsa
