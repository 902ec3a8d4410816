#include "ops/mlp.h"

namespace dsa {

void MlpScratch::plan(size_t rows, size_t max_inner, Twins twins, ScratchPlan* plan) {
  max_rows = rows;
  plan->add(&up, rows * max_inner);
  plan_buffer(plan, &inner, rows, max_inner, twins);
}

void mlp(const OpContext& context,
         const MlpWeights& weights,
         const Activation& x,
         size_t m,
         const MlpScratch& scratch,
         float* out,
         size_t ld_out) {
  RowBuffer inner = scratch.inner;
  inner.ld = weights.gate.rows;
  const MatmulJob jobs[] = {matmul_nt(context, x, m, weights.gate, inner.f32, inner.ld),
                            matmul_nt(context, x, m, weights.up, scratch.up, inner.ld)};
  run_matmuls(context, jobs);
  const Twins twins = read_by(context, {&weights.down});
  for_each_row(context, m, [&](size_t i) {
    context.vector().silu_mul(inner.row(i), scratch.up + i * inner.ld, inner.ld, inner.row(i));
    inner.prepare(context.vector(), twins, i, 0, inner.ld);
  });
  MatmulJob down = matmul_nt(context, inner.activation(twins), m, weights.down, out, ld_out);
  down.args.accumulate = true;
  run_matmuls(context, {&down, 1});
}

}  // namespace dsa
