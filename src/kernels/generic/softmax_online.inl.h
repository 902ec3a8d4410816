// Softmax over a row of logits a tile at a time, lanes along the row; and the merge of partial
// attention results.
#pragma once

#include "kernels/attention_kernels.h"
#include "kernels/generic/vector_exp.inl.h"
#include "kernels/generic/vector_loop.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr float kNoMass = -__builtin_inff();  // running maximum and lse of an empty row

// x[i] *= factor; a factor of 0 clears, whatever x held.
inline void scale_row(float* x, size_t n, float factor) noexcept {
  if (factor == 1.0F) return;
  const F32 f = set(factor);
  for_each_vector(n, [=](size_t i, auto part) {
    store(x + i, factor == 0.0F ? f : mul(load(x + i, part), f), part);
  });
}

// exp(old_max - new_max), where nothing seen so far weighs nothing.
inline float rescale_factor(float old_max, float new_max) noexcept {
  if (old_max == new_max) return 1.0F;
  return reduce_max(exp(set(old_max - new_max)));
}

// Entries of a row that are not masked, kLanes at a time.
struct RowMask {
  size_t limit;
  const uint64_t* visible;

  // Entries [first, first + kLanes); none beyond the limit.
  Mask at(size_t first) const noexcept {
    if (first >= limit) return first_lanes(0);
    const size_t left = limit - first;
    const Mask within = first_lanes(left < kLanes ? left : kLanes);
    if (visible == nullptr) return within;
    return both(within, mask_of_bits(visible[first / 64] >> first % 64));
  }
};

// s <- scale * s, -inf where masked; returns the maximum.
inline float mask_row(float* s, size_t n, float scale, const RowMask& mask) noexcept {
  F32 best = set(kNoMass);
  for_each_vector(n, [&](size_t j, auto part) {
    const F32 logit = select(mask.at(j), mul(load(s + j, part), set(scale)), set(kNoMass));
    store(s + j, logit, part);
    best = max(logit, best);
  });
  return reduce_max(best);
}

// s <- exp(s - top); returns the sum.
inline float exponentiate_row(float* s, size_t n, float top) noexcept {
  const F32 shift = set(top == kNoMass ? 0.0F : top);  // -inf - -inf is NaN
  F32 sum = zero();
  for_each_vector(n, [&](size_t j, auto part) {
    const F32 weight = keep(exp(sub(load(s + j, part), shift)), zero(), part);
    store(s + j, weight, part);
    sum = add(sum, weight);
  });
  return reduce_add(sum);
}

void online_softmax(const OnlineSoftmaxArgs& args) noexcept {
  for (size_t i = 0; i < args.m; ++i) {
    RowMask mask = {args.n, nullptr};
    if (args.limit != nullptr && args.limit[i] < static_cast<int64_t>(args.n)) {
      mask.limit = args.limit[i] < 0 ? 0 : static_cast<size_t>(args.limit[i]);
    }
    if (args.visible != nullptr) mask.visible = args.visible + i * args.visible_stride;
    float* s = args.s + i * args.ld;
    const float old_max = args.row_max[i];
    const float tile_max = mask_row(s, args.n, args.scale, mask);
    const float top = tile_max > old_max ? tile_max : old_max;
    const float sum = exponentiate_row(s, args.n, top);
    const float factor = rescale_factor(old_max, top);
    args.row_max[i] = top;
    args.row_sum[i] = factor == 0.0F ? sum : args.row_sum[i] * factor + sum;
    scale_row(args.acc + i * args.ld_acc, args.d_v, factor);
  }
}

// lse of the parts of one head.
inline float merged_lse(const float* lse, size_t n_parts, size_t stride) noexcept {
  float top = kNoMass;
  for (size_t p = 0; p < n_parts; ++p)
    top = lse[p * stride] > top ? lse[p * stride] : top;
  float sum = 0;
  for (size_t p = 0; p < n_parts; ++p) {
    const float part = lse[p * stride];
    if (part != kNoMass) sum += reduce_max(exp(set(part - top)));
  }
  return sum == 0.0F ? kNoMass : top + __builtin_logf(sum);
}

void merge(const float* out_parts,
           const float* lse_parts,
           size_t n_parts,
           size_t n_heads,
           size_t d,
           float* out,
           float* lse) noexcept {
  for (size_t h = 0; h < n_heads; ++h) {
    lse[h] = merged_lse(lse_parts + h, n_parts, n_heads);
    float* row = out + h * d;
    for (size_t c = 0; c < d; ++c)
      row[c] = 0;
    for (size_t p = 0; p < n_parts; ++p) {
      const float part_lse = lse_parts[p * n_heads + h];
      if (part_lse == kNoMass) continue;  // no rows in this part
      const F32 weight = set(reduce_max(exp(set(part_lse - lse[h]))));
      const float* source = out_parts + (p * n_heads + h) * d;
      for_each_vector(d, [=](size_t c, auto part) {
        store(row + c, fma(weight, load(source + c, part), load(row + c, part)), part);
      });
    }
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
