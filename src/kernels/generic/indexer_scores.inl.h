// Scores of a range of cached keys. Lanes are heads: the packed query is the vector side of the
// tile, keys are broadcast, and the sum over heads is one transposed reduction at the end.
//
// Packed query: [padded heads] f32 weights, then pack_lanes() of the heads.
//
// Keys<format> comes from the tier: its Dot, and how bytes of a key become units.
#pragma once

#include "kernels/generic/dot_tile.inl.h"
#include "kernels/generic/vector_loop.inl.h"
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

// partial[i][lane] += sum over the group's vectors of weight * relu(dot) for keys i. A NaN dot
// stays NaN; a padding lane adds nothing, whatever its dot is.
template <class Dot, size_t kKeys, size_t kVectors>
void score_tile(const BroadcastRows& keys,
                const float* group,
                size_t n_units,
                const float* weights,
                size_t n_heads,
                Prefetch& ahead,
                float* partial) noexcept {
  F32 acc[kKeys][kVectors];
  clear_tile(acc);
  dot_tile<Dot>(keys, group, kVectors * kLanes, n_units, ahead, acc);
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
void score_run(const BroadcastRows& keys,
               size_t n_keys,
               const float* packed,
               size_t n_heads,
               size_t n_units,
               Prefetch& ahead,
               float* partial) noexcept {
  const float* groups = packed + weight_floats(n_heads);
  for_each_group(padded_lanes(n_heads) / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    const size_t head = vector * kLanes;
    for_each_group<kTileAccumulators / kVectors>(n_keys, [&](auto count, size_t key) {
      const BroadcastRows tile = {keys.data + key * keys.row_bytes, keys.row_bytes,
                                  keys.step_bytes};
      score_tile<Dot, decltype(count)::value, kVectors>(tile, groups + head * n_units, n_units,
                                                        packed + head, n_heads - head, ahead,
                                                        partial + key * kLanes);
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

// Consecutive keys of one page.
struct KeyRun {
  const uint8_t* keys;
  const uint8_t* scales;
  size_t n;
};

// The run at a position, of at most `longest` keys; empty at the end of the range.
inline KeyRun run_at(const IndexScoresArgs& args, size_t position, size_t longest) noexcept {
  if (position >= args.last) return {nullptr, nullptr, 0};
  const size_t slot = position % kPageTokens;
  size_t n = kPageTokens - slot < longest ? kPageTokens - slot : longest;
  if (args.last - position < n) n = args.last - position;
  const size_t page = static_cast<size_t>(args.pages[position / kPageTokens]);
  const uint8_t* base = args.base + page * args.page_stride;
  return {base + slot * args.layout.key_bytes(),
          base + args.layout.scale_offset() + sizeof(float) * slot, n};
}

// The keys of a run as units: where they are, or converted into `units`.
template <class Keys>
BroadcastRows prepare_keys(const KeyRun& run, const IndexKeyLayout& layout, float* units) noexcept {
  if constexpr (Keys::kConverts) {
    Keys::convert(run.keys, run.n * layout.dim, units);
    return {reinterpret_cast<const uint8_t*>(units),
            sizeof(float) * layout.dim / Keys::Dot::kPerUnit, sizeof(float)};
  } else {
    return {run.keys, layout.key_bytes(), sizeof(float)};
  }
}

template <class Keys>
void score_range(const IndexScoresArgs& args) noexcept {
  using Dot = typename Keys::Dot;
  const size_t n_units = args.layout.dim / Dot::kPerUnit;
  const size_t longest =
      Keys::kConverts && kRunUnits / n_units < kRunKeys ? kRunUnits / n_units : kRunKeys;
  alignas(64) float units[Keys::kConverts ? kRunUnits : 1];
  alignas(64) float partial[kRunKeys * kLanes];
  alignas(64) float scales[kRunKeys];
  KeyRun run = run_at(args, args.first, longest);
  for (float* out = args.out; run.n != 0;) {
    const BroadcastRows keys = prepare_keys<Keys>(run, args.layout, units);
    if constexpr (Keys::kScaled) __builtin_memcpy(scales, run.scales, sizeof(float) * run.n);
    const size_t done = static_cast<size_t>(out - args.out) + run.n;
    const KeyRun next = run_at(args, args.first + done, longest);
    Prefetch ahead = {&next.keys, next.n == 0 ? size_t{0} : 1, next.n * args.layout.key_bytes()};
    for (size_t q = 0; q < args.n_queries; ++q) {
      __builtin_memset(partial, 0, sizeof(partial));
      score_run<Dot>(keys, run.n, static_cast<const float*>(args.queries[q]), args.n_heads, n_units,
                     ahead, partial);
      finish_scores(partial, Keys::kScaled ? scales : nullptr, run.n, out + q * args.ld_out);
    }
    out += run.n;
    run = next;
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
