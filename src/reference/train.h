// Oracles of the training kernels: the definitions, in f64. Matrices are dense and row-major.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "reference/vector.h"

namespace dsa::reference {

// `magnitude`: the same sums over absolute values, to which rounding errors are relative.
struct Gradient {
  Row value;
  Row magnitude;
};

struct NormGradient {
  Gradient dx;
  Row dweight;
};

// Of L with dL/dy = dy for y = rms_norm(x), y = layer_norm(x) with any bias.
NormGradient rms_norm_backward(std::span<const float> x,
                               std::span<const float> weight,
                               std::span<const float> dy,
                               double eps);
NormGradient layer_norm_backward(std::span<const float> x,
                                 std::span<const float> weight,
                                 std::span<const float> dy,
                                 double eps);

struct SiluMulGradient {
  Row gate;
  Row up;
};

SiluMulGradient silu_mul_backward(std::span<const float> dy,
                                  std::span<const float> gate,
                                  std::span<const float> up);

// score[j] = sum_h w[h] max(qk[h,j], 0);  qk: [n_heads, n]
Gradient index_scores(std::span<const float> qk, std::span<const float> w);

struct IndexScoresGradient {
  Row qk;       // [n_heads, n]
  Gradient dw;  // [n_heads]
};

IndexScoresGradient index_scores_backward(std::span<const float> qk,
                                          std::span<const float> w,
                                          std::span<const float> dscores);

struct KlRow {
  double value = 0;
  double magnitude = 0;
  Row dscores;
};

// sum_j p[j] (ln max(p[j], 1e-10) - (scores[j] - lse)), and factor times its gradient by the
// scores.
KlRow kl_row(std::span<const float> p, std::span<const float> scores, double lse, double factor);

}  // namespace dsa::reference
