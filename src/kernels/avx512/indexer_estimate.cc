// Estimates of the indexer's scores in int8. docs/notebook/indexer.md proves the bound.
//
// Packed query: [padded heads] f32 factors, [padded heads] int32 offsets, then pack_lanes() of the
// heads in whole numbers. A factor is the head's weight times the steps of query and key; an offset
// takes the 128 in every stored key out of the dot.
#include "kernels/avx512/estimate_gain.h"
#include "kernels/avx512/fp8_pair_keys.h"
#include "kernels/avx512/int8_keys.h"
#define DSA_TIER avx512
#include "kernels/generic/indexer_scores.inl.h"

namespace dsa::kernels::avx512 {
namespace {

size_t estimate_bytes(size_t n_heads, size_t dim) noexcept {
  if (n_heads == 0 || n_heads > kMaxEstimateHeads) return 0;
  if (dim == 0 || dim > kMaxEstimateDim || dim % 64 != 0) return 0;
  return sizeof(float) * weight_floats(n_heads) * (2 + dim / Int8Dot::kPerUnit);
}

// The smallest power of two that leaves max |q| / step at most 127.
float step_of(const float* q, size_t dim) noexcept {
  F32 largest = zero();
  for (size_t d = 0; d < dim; d += kLanes)
    largest = max({_mm512_abs_ps(load(q + d).v)}, largest);
  const float limit = reduce_max(largest) / 127;
  float step = 1;
  while (step < limit && step < 1e30F)
    step *= 2;
  while (step / 2 >= limit && step > 1e-30F)
    step /= 2;
  return step;
}

// Whole numbers of steps, and kErrorFactor times what that leaves of each value, in steps.
void split_head(const float* q, size_t dim, float step, float* whole, float* error) noexcept {
  const F32 inverse = set(1 / step);
  for (size_t d = 0; d < dim; d += kLanes) {
    const F32 value = mul(load(q + d), inverse);
    const F32 near = {_mm512_roundscale_ps(value.v, 0)};
    store(whole + d, near);
    store(error + d, mul(sub(value, near), set(kErrorFactor)));
  }
}

int32_t offset_of(const float* whole, size_t dim) noexcept {
  F32 sum = zero();
  for (size_t d = 0; d < dim; d += kLanes)
    sum = add(sum, load(whole + d));  // at most 127 * 128: exact
  return _mm_cvtss_si32(_mm_set_ss(-kKeyZero * reduce_add(sum)));
}

float pack_estimate(
    const float* q, const float* weights, size_t n_heads, size_t dim, void* packed) noexcept {
  const size_t n_lanes = weight_floats(n_heads);
  float* factors = static_cast<float*>(packed);
  float* offsets = factors + n_lanes;
  SplitQuery split;
  split.n_heads = n_heads;
  split.dim = dim;
  for (size_t h = 0; h < n_lanes; ++h) {
    int32_t offset = 0;
    factors[h] = 0;
    if (h < n_heads) {
      const float step = step_of(q + h * dim, dim);
      float* row = split.row(h);
      split_head(q + h * dim, dim, step, row, row + dim);
      split.weights[h] = weights[h] * step;
      factors[h] = weights[h] * step * kKeyStep;
      offset = offset_of(row, dim);
    }
    __builtin_memcpy(offsets + h, &offset, sizeof(offset));
  }
  pack_lanes<PackInt8>([&](size_t lane) { return lane < n_heads ? split.row(lane) : nullptr; },
                       n_lanes, dim / Int8Dot::kPerUnit, offsets + n_lanes);
  return estimate_gain(split);
}

// partial[i][lane] = (or += where `adds`) sum over the group's vectors of factor * relu(dot) for
// keys i.
template <size_t kKeys, size_t kVectors, class Ahead>
void estimate_tile(const BroadcastRows& keys,
                   const float* group,
                   size_t n_units,
                   const float* factors,
                   const float* offsets,
                   bool adds,
                   Ahead& ahead,
                   float* partial) noexcept {
  F32 acc[kKeys][kVectors];
  DSA_UNROLL
  for (size_t i = 0; i < kKeys; ++i) {
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j)
      acc[i][j] = load(offsets + j * kLanes);
  }
  dot_tile<Int8Dot>(keys, group, kVectors * kLanes, n_units, ahead, acc);
  DSA_UNROLL
  for (size_t i = 0; i < kKeys; ++i) {
    F32 sum = adds ? load(partial + i * kLanes) : zero();
    DSA_UNROLL
    for (size_t j = 0; j < kVectors; ++j) {
      const F32 dot = {_mm512_cvtepi32_ps(_mm512_castps_si512(acc[i][j].v))};
      sum = fma(load(factors + j * kLanes), max(dot, zero()), sum);
    }
    store(partial + i * kLanes, sum);
  }
}

// partial: [n keys][kLanes].
template <class Ahead>
void estimate_run(const BroadcastRows& keys,
                  size_t n_keys,
                  const float* packed,
                  size_t n_heads,
                  size_t n_units,
                  Ahead& ahead,
                  float* partial) noexcept {
  const size_t n_lanes = weight_floats(n_heads);
  const float* offsets = packed + n_lanes;
  const float* groups = offsets + n_lanes;
  for_each_group(n_lanes / kLanes, [&](auto width, size_t vector) {
    constexpr size_t kVectors = decltype(width)::value;
    const size_t head = vector * kLanes;
    for_each_group<kTileAccumulators / kVectors>(n_keys, [&](auto count, size_t key) {
      const BroadcastRows tile = {keys.data + key * keys.row_bytes, keys.row_bytes,
                                  keys.step_bytes};
      estimate_tile<decltype(count)::value, kVectors>(tile, groups + head * n_units, n_units,
                                                      packed + head, offsets + head, head != 0,
                                                      ahead, partial + key * kLanes);
    });
  });
}

// reach = |scale| * sqrt(squares), and the smallest normal number on top of it: that covers results
// too small for f32's relative precision.
void finish_reach(const float* squares, const KeyRun<Int8Keys>& run, float* reach) noexcept {
  for_each_vector(run.n, [&](size_t i, auto part) {
    const F32 sum = mul(sum_rows(squares + i * kLanes), set(1.0F / kSquareUnits));
    const F32 norm = {_mm512_sqrt_ps(sum.v)};
    const F32 scale = {_mm512_abs_ps(load(run.scales + i, part).v)};
    store(reach + i, fma(scale, norm, set(__FLT_MIN__)), part);
  });
}

void estimates(const IndexScoresArgs& args, float* reach) noexcept {
  const size_t dim = args.layout.dim;
  alignas(64) float partial[Int8Keys::kRunKeys * kLanes];
  for_each_run<Int8Keys>(args, RangeOfKeys{args},
                         [&](const BroadcastRows& keys, const float* squares,
                             const KeyRun<Int8Keys>& run, size_t done, NextRun<Int8Keys>& next) {
                           finish_reach(squares, run, reach + done);
                           for (size_t q = 0; q < args.n_queries; ++q) {
                             estimate_run(keys, run.n, static_cast<const float*>(args.queries[q]),
                                          args.n_heads, dim / Int8Dot::kPerUnit, next, partial);
                             finish_scores(partial, run.scales, run.n,
                                           args.out + q * args.ld_out + done);
                           }
                         });
}

void scores_at(const IndexScoresArgs& args, const int32_t* positions, size_t n) noexcept {
  score_keys<Fp8PairKeys>(args, ListOfKeys{args, positions, n});
}

// Bits of the first n <= 64 that are not below; NaN is not.
DSA_INLINE uint64_t
bits_within(const float* estimates, const float* reach, F32 gain, F32 least, size_t n) noexcept {
  uint64_t bits = 0;
  for_each_vector(n, [&](size_t i, auto part) {
    const F32 farthest = fma(gain, load(reach + i, part), load(estimates + i, part));
    const uint64_t near = _mm512_cmp_ps_mask(farthest.v, least.v, _CMP_NLT_UQ);
    bits |= near << i;
  });
  return n < 64 ? bits & ((1ULL << n) - 1) : bits;
}

size_t within_reach(const float* estimates,
                    const float* reach,
                    float gain,
                    float least,
                    size_t n,
                    int32_t* out,
                    size_t capacity) noexcept {
  constexpr size_t kBlock = 64;  // append_indices() may write that many past the last
  size_t n_out = 0;
  for (size_t i = 0; i < n; i += kBlock) {
    if (n_out + 2 * kBlock > capacity) return capacity;
    const size_t count = n - i < kBlock ? n - i : kBlock;
    const uint64_t bits = bits_within(estimates + i, reach + i, set(gain), set(least), count);
    if (bits != 0) n_out += append_indices(bits, static_cast<int32_t>(i), out + n_out);
  }
  return n_out;
}

}  // namespace

extern const IndexEstimateKernels kIndexEstimateKernels;
constinit const IndexEstimateKernels kIndexEstimateKernels = {estimate_bytes, pack_estimate,
                                                              estimates, within_reach, scores_at};
}  // namespace dsa::kernels::avx512
