// Scores of a range of cached keys. Lanes are heads: the packed query is the vector side of the
// tile, keys are broadcast, and the sum over heads is one transposed reduction at the end.
//
// Packed query: [padded heads] f32 weights, then pack_lanes() of the heads.
//
// Keys<format> comes from the tier: its Dot, and how bytes of a key become units.
#pragma once

#include "kernels/generic/dot_tile.inl.h"
#include "kernels/indexer_kernels.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr size_t kRunKeys = 32;  // keys converted at a time: small enough to stay in the L1 cache
constexpr size_t kRunUnits = 8192;

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

// Consecutive keys of one page, ready to be broadcast.
struct KeyRun {
  BroadcastRows rows;
  size_t n;
};

// partial[i][lane] += sum over the group's vectors of weight * relu(dot) for keys i. A NaN dot
// stays NaN; a padding lane adds nothing, whatever its dot is.
template <class Dot, size_t kKeys, size_t kVectors>
void score_tile(const BroadcastRows& keys,
                const float* group,
                size_t n_units,
                const float* weights,
                size_t n_heads,
                float* partial) noexcept {
  F32 acc[kKeys][kVectors];
  clear_tile(acc);
  dot_tile<Dot>(keys, group, kVectors * kLanes, n_units, acc);
  for (size_t j = 0; j < kVectors; ++j) {
    const F32 weight = load(weights + j * kLanes);
    const size_t heads_left = n_heads - j * kLanes;
    const Mask is_head = first_lanes(heads_left < kLanes ? heads_left : kLanes);
    DSA_UNROLL
    for (size_t i = 0; i < kKeys; ++i) {
      const F32 relu = select(is_head, max(zero(), acc[i][j]), zero());
      store(partial + i * kLanes, fma(weight, relu, load(partial + i * kLanes)));
    }
  }
}

// partial: [n keys][kLanes], zeros on entry.
template <class Dot>
void score_run(const KeyRun& run,
               const float* packed,
               size_t n_heads,
               size_t n_units,
               float* partial) noexcept {
  const float* groups = packed + weight_floats(n_heads);
  for_each_group(padded_lanes(n_heads) / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    const size_t head = vector * kLanes;
    for_each_group<kTileAccumulators / kVectors>(run.n, [&](auto count, size_t key) {
      const BroadcastRows keys = {run.rows.data + key * run.rows.row_bytes, run.rows.row_bytes,
                                  run.rows.step_bytes};
      score_tile<Dot, decltype(count)::value, kVectors>(keys, groups + head * n_units, n_units,
                                                        packed + head, n_heads - head,
                                                        partial + key * kLanes);
    });
  });
}

// scales: [n] or null.
inline void finish_scores(const float* partial,
                          const float* scales,
                          size_t n,
                          float* out) noexcept {
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t count = n - i < kLanes ? n - i : kLanes;
    F32 score = sum_rows(partial + i * kLanes);
    if (scales != nullptr) score = mul(score, load_first(scales + i, count));
    store_first(out + i, count, score);
  }
}

template <class Keys>
KeyRun prepare_run(const uint8_t* bytes, size_t key_bytes, size_t dim, size_t n, float* units) {
  if constexpr (Keys::kConverts) {
    Keys::convert(bytes, n * dim, units);
    const size_t row_bytes = sizeof(float) * dim / Keys::Dot::kPerUnit;
    return {{reinterpret_cast<const uint8_t*>(units), row_bytes, sizeof(float)}, n};
  } else {
    return {{bytes, key_bytes, sizeof(float)}, n};
  }
}

template <class Keys>
void score_range(const IndexScoresArgs& args) noexcept {
  using Dot = typename Keys::Dot;
  const size_t dim = args.layout.dim;
  const size_t n_units = dim / Dot::kPerUnit;
  const size_t fitting = Keys::kConverts ? kRunUnits / n_units : kPageTokens;
  const size_t longest = fitting < kRunKeys ? fitting : kRunKeys;
  alignas(64) float units[Keys::kConverts ? kRunUnits : 1];
  alignas(64) float partial[kRunKeys * kLanes];
  alignas(64) float scales[kRunKeys];
  for (size_t position = args.first; position < args.last;) {
    const size_t slot = position % kPageTokens;
    size_t n = kPageTokens - slot < longest ? kPageTokens - slot : longest;
    if (args.last - position < n) n = args.last - position;
    const uint8_t* page =
        args.base + static_cast<size_t>(args.pages[position / kPageTokens]) * args.page_stride;
    const size_t key_bytes = args.layout.key_bytes();
    const KeyRun run = prepare_run<Keys>(page + slot * key_bytes, key_bytes, dim, n, units);
    if constexpr (Keys::kScaled) {
      __builtin_memcpy(scales, page + args.layout.scale_offset() + sizeof(float) * slot,
                       sizeof(float) * n);
    }
    for (size_t q = 0; q < args.n_queries; ++q) {
      __builtin_memset(partial, 0, sizeof(partial));
      score_run<Dot>(run, static_cast<const float*>(args.queries[q]), args.n_heads, n_units,
                     partial);
      finish_scores(partial, Keys::kScaled ? scales : nullptr, n,
                    args.out + q * args.ld_out + (position - args.first));
    }
    position += n;
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
