// Rows of stored weights as f32. Requires DSA_TIER and that tier's matmul_types.h before inclusion.
#pragma once

#include "kernels/generic/matmul_common.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

// Values [first, first + n) of the row; kScaled: times the scales of their blocks.
template <class W, bool kScaled>
void dequantize_row(const WeightView& w, size_t row, size_t first, size_t n, float* out) noexcept {
  const auto* from = element<typename W::Bits>(w, row, first);
  constexpr size_t kGroup = W::kVecs * F32::kLanes;
  for (size_t begin = 0, end = 0; begin < n; begin = end) {
    end = kScaled ? block_end(w.col0 + first, begin, n) : n;
    F32 scale = set(1.0F);
    if constexpr (kScaled) {
      scale = set(w.scale[(w.row0 + row) / kWeightBlock * w.scale_ld +
                          (w.col0 + first + begin) / kWeightBlock]);
    }
    const auto scaled = [&](F32 x) {
      if constexpr (kScaled) return mul(x, scale);
      return x;
    };
    F32 vecs[W::kVecs];
    size_t k = begin;
    for (; k + kGroup <= end; k += kGroup) {
      W::load(from + k, vecs);
      unroll<W::kVecs>([&](auto v) { store(out + k + v * F32::kLanes, scaled(vecs[v])); });
    }
    if (k == end) continue;
    W::load_first(from + k, end - k, vecs);
    unroll<W::kVecs>([&](auto v) {
      const size_t at = k + v * F32::kLanes;
      if (at < end) store_first(out + at, smaller(end - at, F32::kLanes), scaled(vecs[v]));
    });
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
