// Bodies of the row-wise entries of TrainKernels.
// Requires DSA_TIER and that tier's tile.h before inclusion.
#pragma once

#include "kernels/generic/vector_exp.inl.h"
#include "kernels/generic/vector_log.inl.h"
#include "kernels/generic/vector_loop.inl.h"
#include "kernels/train_kernels.h"

namespace dsa::kernels::DSA_TIER {
namespace {

inline size_t row_limit(const LogitRows& rows, size_t i) {
  if (rows.limit == nullptr || rows.limit[i] >= static_cast<int64_t>(rows.n)) return rows.n;
  return rows.limit[i] < 0 ? 0 : static_cast<size_t>(rows.limit[i]);
}

void exp_rows(const LogitRows& rows, float scale, const float* lse) noexcept {
  const F32 factor = set(scale);
  for (size_t i = 0; i < rows.m; ++i) {
    float* s = rows.s + i * rows.ld;
    const F32 shift = set(-lse[i]);
    const size_t limit = row_limit(rows, i);
    for_each_vector(limit, [=](size_t j, auto part) {
      store(s + j, exp(fma(load(s + j, part), factor, shift)), part);
    });
    for (size_t j = limit; j < rows.n; ++j)
      s[j] = 0;
  }
}

void add_exp_rows(const LogitRows& rows,
                  float scale,
                  const float* lse,
                  float factor,
                  float* sum,
                  size_t ld_sum) noexcept {
  const F32 scales = set(scale);
  const F32 weight = set(factor);
  for (size_t i = 0; i < rows.m; ++i) {
    const float* s = rows.s + i * rows.ld;
    float* out = sum + i * ld_sum;
    const F32 shift = set(-lse[i]);
    for_each_vector(row_limit(rows, i), [=](size_t j, auto part) {
      const F32 p = exp(fma(load(s + j, part), scales, shift));
      store(out + j, fma(p, weight, load(out + j, part)), part);
    });
  }
}

void softmax_backward(
    const LogitRows& ds, const float* p, size_t ld_p, float scale, const float* delta) noexcept {
  const F32 factor = set(scale);
  for (size_t i = 0; i < ds.m; ++i) {
    float* row = ds.s + i * ds.ld;
    const float* weights = p + i * ld_p;
    const F32 mean = set(delta[i]);
    for_each_vector(ds.n, [=](size_t j, auto part) {
      const F32 weight = mul(load(weights + j, part), factor);
      store(row + j, mul(weight, sub(load(row + j, part), mean)), part);
    });
  }
}

float dot(const float* x, const float* y, size_t n) noexcept {
  return sum_row(n, [=](size_t i, auto part) { return mul(load(x + i, part), load(y + i, part)); });
}

//   r = 1 / sqrt(mean(x^2) + eps);  dx = r (g - x r^2 mean(g x)),  g = dy * weight
void rms_norm_backward(const float* x,
                       const float* weight,
                       const float* dy,
                       size_t n,
                       float eps,
                       float* dx,
                       float* dweight) noexcept {
  const float count = static_cast<float>(n);
  const float r = 1.0F / __builtin_sqrtf(dot(x, x, n) / count + eps);
  const float along = sum_row(n, [=](size_t i, auto part) {
    return mul(mul(load(dy + i, part), load(weight + i, part)), load(x + i, part));
  });
  const F32 rs = set(r);
  const F32 back = set(-r * r * r * (along / count));
  for_each_vector(n, [=](size_t i, auto part) {
    const F32 g = mul(load(dy + i, part), load(weight + i, part));
    const F32 change = fma(load(x + i, part), back, mul(g, rs));
    store(dx + i, add(load(dx + i, part), change), part);
  });
  if (dweight == nullptr) return;
  for_each_vector(n, [=](size_t i, auto part) {
    const F32 normal = mul(load(x + i, part), rs);
    store(dweight + i, fma(load(dy + i, part), normal, load(dweight + i, part)), part);
  });
}

//   dx = r (g - mean(g) - z mean(g z)),  z = (x - mean(x)) r,  g = dy * weight
void layer_norm_backward(const float* x,
                         const float* weight,
                         const float* dy,
                         size_t n,
                         float eps,
                         float* dx,
                         float* dweight,
                         float* dbias) noexcept {
  const float count = static_cast<float>(n);
  const F32 mean = set(sum_row(n, [=](size_t i, auto part) { return load(x + i, part); }) / count);
  const float squares = sum_row(n, [=](size_t i, auto part) {
    const F32 d = keep(sub(load(x + i, part), mean), zero(), part);
    return mul(d, d);
  });
  const F32 r = set(1.0F / __builtin_sqrtf(squares / count + eps));
  const auto gradient = [=](size_t i, auto part) {
    return mul(load(dy + i, part), load(weight + i, part));
  };
  const auto normal = [=](size_t i, auto part) { return mul(sub(load(x + i, part), mean), r); };
  const F32 mean_g = set(sum_row(n, gradient) / count);
  const F32 mean_gz =
      set(sum_row(n, [=](size_t i, auto part) { return mul(gradient(i, part), normal(i, part)); }) /
          count);
  for_each_vector(n, [=](size_t i, auto part) {
    const F32 g = gradient(i, part);
    const F32 z = normal(i, part);
    const F32 d = load(dy + i, part);
    store(dweight + i, fma(d, z, load(dweight + i, part)), part);
    store(dbias + i, add(d, load(dbias + i, part)), part);
    store(dx + i, mul(r, sub(sub(g, mean_g), mul(z, mean_gz))), part);
  });
}

void silu_mul_backward(const float* dy, size_t n, float* gate, float* up) noexcept {
  const F32 one = set(1.0F);
  for_each_vector(n, [=](size_t i, auto part) {
    const F32 g = load(gate + i, part);
    const F32 d = load(dy + i, part);
    const F32 sigmoid = div(one, add(one, exp(sub(zero(), g))));
    const F32 silu = mul(g, sigmoid);
    const F32 slope = fma(sigmoid, sub(one, silu), silu);
    store(gate + i, mul(mul(d, load(up + i, part)), slope), part);
    store(up + i, mul(d, silu), part);
  });
}

void index_scores(
    const float* qk, size_t ld, size_t n_heads, size_t n, const float* w, float* scores) noexcept {
  for_each_vector(n, [=](size_t j, auto part) {
    F32 sum = zero();
    for (size_t h = 0; h < n_heads; ++h)
      sum = fma(max(load(qk + h * ld + j, part), zero()), set(w[h]), sum);
    store(scores + j, sum, part);
  });
}

void index_scores_backward(float* qk,
                           size_t ld,
                           size_t n_heads,
                           size_t n,
                           const float* w,
                           const float* dscores,
                           float* dw) noexcept {
  for (size_t h = 0; h < n_heads; ++h) {
    float* row = qk + h * ld;
    dw[h] += sum_row(n, [=](size_t j, auto part) {
      return mul(load(dscores + j, part), max(load(row + j, part), zero()));
    });
    const F32 weight = set(w[h]);
    for_each_vector(n, [=](size_t j, auto part) {
      const F32 d = mul(load(dscores + j, part), weight);
      store(row + j, select(less(zero(), load(row + j, part)), d, zero()), part);
    });
  }
}

double kl_row(const float* p, float* scores, size_t n, float lse, float factor) noexcept {
  constexpr size_t kBlock = 256;  // f32 sums of so many terms, f64 over the blocks
  const F32 shift = set(lse);
  const F32 factors = set(factor);
  double loss = 0;
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const float* target = p + begin;
    float* s = scores + begin;
    F32 sum = zero();
    for_each_vector(n - begin < kBlock ? n - begin : kBlock, [&](size_t j, auto part) {
      const F32 weight = load(target + j, part);
      const F32 log_q = sub(load(s + j, part), shift);
      const F32 log_p = log(max(weight, set(1e-10F)));
      sum = add(sum, keep(mul(weight, sub(log_p, log_q)), zero(), part));
      store(s + j, mul(factors, sub(exp(log_q), weight)), part);
    });
    loss += static_cast<double>(reduce_add(sum));
  }
  return loss;
}

// The tier's table; gemm.inl.h comes before this file.
constexpr TrainKernels train_kernels() {
  return {gemm,
          transpose_matrix,
          exp_rows,
          add_exp_rows,
          softmax_backward,
          dot,
          rms_norm_backward,
          layer_norm_backward,
          silu_mul_backward,
          index_scores,
          index_scores_backward,
          kl_row};
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
