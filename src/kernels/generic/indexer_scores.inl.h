// Scores of a range of cached keys. Lanes are heads: the packed query is the vector side of the
// tile, keys are broadcast, and the sum over heads is one transposed reduction at the end.
//
// Packed query: [padded heads] f32 weights, then pack_lanes() of the heads.
//
// Keys<format>: indexer_runs.inl.h.
#pragma once

#include "kernels/generic/indexer_runs.inl.h"
#include "kernels/generic/vector_loop.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

inline size_t padded_lanes(size_t n) noexcept {
  return (n + kLanes - 1) / kLanes * kLanes;
}
inline size_t weight_floats(size_t n_heads) noexcept {
  return (padded_lanes(n_heads) + 15) / 16 * 16;
}

template <class Keys>
size_t packed_bytes(size_t n_heads, size_t dim) noexcept {
  const size_t units = padded_lanes(n_heads) * (dim / Keys::Dot::kPerUnit);
  return sizeof(float) * (weight_floats(n_heads) + (units + 15) / 16 * 16);
}

template <class Keys>
void pack_heads(const float* q, const float* weights, size_t n_heads, size_t dim, void* out) {
  float* packed = static_cast<float*>(out);
  for (size_t h = 0; h < weight_floats(n_heads); ++h)
    packed[h] = h < n_heads ? weights[h] : 0.0F;
  pack_lanes<typename Keys::PackDot>(
      [&](size_t lane) { return lane < n_heads ? q + lane * dim : nullptr; }, padded_lanes(n_heads),
      dim / Keys::Dot::kPerUnit, packed + weight_floats(n_heads));
}

// partial[i][lane] = (or += where `adds`) sum over the group's vectors of weight * relu(dot) for
// keys i. A NaN dot stays NaN; a padding lane adds nothing, whatever its dot is.
template <class Dot, size_t kKeys, size_t kVectors, class Ahead>
void score_tile(const BroadcastRows& keys,
                const float* group,
                size_t n_units,
                const float* weights,
                size_t n_heads,
                bool adds,
                Ahead& ahead,
                float* partial) noexcept {
  F32 acc[kKeys][kVectors];
  clear_tile(acc);
  dot_tile<Dot>(keys, group, kVectors * kLanes, n_units, ahead, acc);
  Mask is_head[kVectors];
  DSA_UNROLL
  for (size_t j = 0; j < kVectors; ++j) {
    const size_t heads_left = n_heads - j * kLanes;
    is_head[j] = first_lanes(heads_left < kLanes ? heads_left : kLanes);
  }
  DSA_UNROLL
  for (size_t i = 0; i < kKeys; ++i) {
    F32 sum = adds ? load(partial + i * kLanes) : zero();
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j) {
      const F32 relu = select(is_head[j], max(zero(), acc[i][j]), zero());
      sum = fma(load(weights + j * kLanes), relu, sum);
    }
    store(partial + i * kLanes, sum);
  }
}

// partial: [n keys][kLanes].
template <class Dot, class Ahead>
void score_run(const BroadcastRows& keys,
               size_t n_keys,
               const float* packed,
               size_t n_heads,
               size_t n_units,
               Ahead& ahead,
               float* partial) noexcept {
  const float* groups = packed + weight_floats(n_heads);
  for_each_group(padded_lanes(n_heads) / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    const size_t head = vector * kLanes;
    for_each_group<kTileAccumulators / kVectors>(n_keys, [&](auto count, size_t key) {
      const BroadcastRows tile = {keys.data + key * keys.row_bytes, keys.row_bytes,
                                  keys.step_bytes};
      score_tile<Dot, decltype(count)::value, kVectors>(tile, groups + head * n_units, n_units,
                                                        packed + head, n_heads - head, head != 0,
                                                        ahead, partial + key * kLanes);
    });
  });
}

// scales: [n] or null.
inline void finish_scores(const float* partial,
                          const float* scales,
                          size_t n,
                          float* out) noexcept {
  for_each_vector(n, [=](size_t i, auto part) {
    F32 score = sum_rows(partial + i * kLanes);
    if (scales != nullptr) score = mul(score, load(scales + i, part));
    store(out + i, score, part);
  });
}

template <class Keys, class Source>
void score_keys(const IndexScoresArgs& args, const Source& source) noexcept {
  using Dot = typename Keys::Dot;
  const size_t n_units = args.layout.dim / Dot::kPerUnit;
  alignas(64) float partial[Keys::kRunKeys * kLanes];
  for_each_run<Keys>(args, source,
                     [&](const BroadcastRows& keys, const float*, const KeyRun<Keys>& run,
                         size_t done, NextRun<Keys>& next) {
                       for (size_t q = 0; q < args.n_queries; ++q) {
                         score_run<Dot>(keys, run.n, static_cast<const float*>(args.queries[q]),
                                        args.n_heads, n_units, next, partial);
                         finish_scores(partial, Keys::kScaled ? run.scales : nullptr, run.n,
                                       args.out + q * args.ld_out + done);
                       }
                     });
}

template <class Keys>
void score_range(const IndexScoresArgs& args) noexcept {
  score_keys<Keys>(args, RangeOfKeys{args});
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
