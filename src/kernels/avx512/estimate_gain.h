// The gain of a query: how large the error of an estimate can be, for one unit of a key's reach.
//
// With z_h = [whole_h ; kErrorFactor * error_h] of head h it is, apart from rounding, an upper
// bound of |sum_h t_h w_h z_h| over all t in [0, 1]^heads. docs/notebook/indexer.md derives it.
#pragma once

#include "kernels/avx512/int8_keys.h"
#define DSA_TIER avx512
#include "kernels/generic/dot_tile.inl.h"

namespace dsa::kernels::avx512 {
namespace {

constexpr size_t kMaxEstimateHeads = 64;
constexpr size_t kMaxEstimateDim = 128;

// A query split into steps; rows [n_heads][2 dim] hold z_h, exact in bf16.
struct SplitQuery {
  size_t n_heads = 0;
  size_t dim = 0;
  float weights[kMaxEstimateHeads];  // times the heads' steps
  alignas(64) float rows[kMaxEstimateHeads * 2 * kMaxEstimateDim];

  float* row(size_t head) { return rows + head * 2 * dim; }
  const float* row(size_t head) const { return rows + head * 2 * dim; }
};

// Of the heads with each other; padded to 16, 32 or 64, so that rows of it are packed lanes too.
struct HeadMatrix {
  size_t n = 0;
  alignas(64) float at[kMaxEstimateHeads * kMaxEstimateHeads];

  float* row(size_t i) { return at + i * n; }
  const float* row(size_t i) const { return at + i * n; }
};

// out[i][l] = <units of row i, units of lane l>;  units: [n][n_units], lanes: [n_units][n].
template <class Dot, size_t kVectors>
void multiply_tiles(const float* units, const float* lanes, size_t n_units, HeadMatrix* out) {
  constexpr size_t kRows = kTileAccumulators / kVectors;
  for (size_t i = 0; i < out->n; i += kRows) {
    const BroadcastRows rows = {reinterpret_cast<const uint8_t*>(units + i * n_units),
                                sizeof(float) * n_units, sizeof(float)};
    F32 acc[kRows][kVectors];
    clear_tile(acc);
    dot_tile<Dot>(rows, lanes, kVectors * kLanes, n_units, acc);
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t j = 0; j < kVectors; ++j)
        store(out->row(i + r) + j * kLanes, acc[r][j]);
    }
  }
}

template <class Dot>
void multiply(const float* units, const float* lanes, size_t n_units, HeadMatrix* out) noexcept {
  if (out->n == kLanes) return multiply_tiles<Dot, 1>(units, lanes, n_units, out);
  if (out->n == 2 * kLanes) return multiply_tiles<Dot, 2>(units, lanes, n_units, out);
  multiply_tiles<Dot, 4>(units, lanes, n_units, out);
}

// Inner products of the heads' rows, of 2 dim values or dim pairs.
inline void gram_matrix(const SplitQuery& split, HeadMatrix* gram) noexcept {
  constexpr size_t kUnits = kMaxEstimateHeads * kMaxEstimateDim;
  alignas(64) float units[kUnits];
  alignas(64) float lanes[kUnits];
  const auto row = [&](size_t h) { return h < split.n_heads ? split.row(h) : nullptr; };
  for (size_t h = 0; h < gram->n; ++h) {
    float* to = units + h * split.dim;
    if (row(h) != nullptr) {
      PackBf16::pack(row(h), split.dim, to);
    } else {
      __builtin_memset(to, 0, sizeof(float) * split.dim);
    }
  }
  pack_lanes<PackBf16>(row, gram->n, split.dim, lanes);
  multiply<Bf16Dot>(units, lanes, split.dim, gram);
}

// y = |m| x or m x; returns the sum of x_i y_i.
template <bool kMagnitudes>
float multiply_vector(const HeadMatrix& m, const float* x, float* y) noexcept {
  float product = 0;
  for (size_t i = 0; i < m.n; ++i) {
    F32 sum = zero();
    for (size_t j = 0; j < m.n; j += kLanes) {
      F32 element = load(m.row(i) + j);
      if constexpr (kMagnitudes) element.v = _mm512_abs_ps(element.v);
      sum = fma(element, load(x + j), sum);
    }
    y[i] = reduce_add(sum);
    product += x[i] * y[i];
  }
  return product;
}

// Upper bound of the largest eigenvalue of |m|: max_i (|m| x)_i / x_i for any positive x, so the
// least of it over a few steps of power iteration.
inline float perron_bound(const HeadMatrix& m) noexcept {
  float x[kMaxEstimateHeads];
  float y[kMaxEstimateHeads];
  for (size_t i = 0; i < m.n; ++i)
    x[i] = 1;
  float least = __builtin_inff();
  for (int step = 0; step < 4; ++step) {
    multiply_vector<true>(m, x, y);
    float bound = 0;
    float largest = 0;
    for (size_t i = 0; i < m.n; ++i) {
      bound = y[i] / x[i] > bound ? y[i] / x[i] : bound;
      largest = y[i] > largest ? y[i] : largest;
    }
    if (!(largest > 0)) return largest;
    least = bound < least ? bound : least;
    for (size_t i = 0; i < m.n; ++i)
      x[i] = y[i] / largest + 1e-3F;
  }
  return least;
}

// What the rounding of sums in this file can add, relative to the sum of all |w_h| |z_h|.
constexpr float kGramSlack = 0x1p-14F;
// What the rounding of the rest adds, relative to the result.
constexpr float kGainSlack = 1 + 0x1p-10F;

// What the rounding of score and estimate adds, relative to the same sum: so many operations on
// terms that are at most that sum times kErrorFactor for a reach of 1.
inline float rounding_gain(const SplitQuery& split) noexcept {
  return static_cast<float>(split.dim + 5 * split.n_heads + 64) * 0x1p-24F * kErrorFactor;
}

// m[i][j] *= factors[i] factors[j]
inline void scale_matrix(const float* factors, HeadMatrix* m) noexcept {
  for (size_t i = 0; i < m->n; ++i) {
    for (size_t j = 0; j < m->n; j += kLanes) {
      const F32 factor = mul(load(factors + j), set(factors[i]));
      store(m->row(i) + j, mul(load(m->row(i) + j), factor));
    }
  }
}

// Upper bound of the largest eigenvalue of a matrix without negative ones and of this trace.
inline float eigenvalue_bound(const HeadMatrix& m, float trace) noexcept {
  HeadMatrix square;
  square.n = m.n;
  multiply<F32Dot>(m.at, m.at, m.n, &square);
  const float bound = __builtin_sqrtf(perron_bound(square) + kGramSlack * trace * trace);
  return (bound < trace ? bound : trace) + kGramSlack * trace;
}

inline float estimate_gain(const SplitQuery& split) noexcept {
  HeadMatrix gram;
  gram.n = split.n_heads <= kLanes ? kLanes : split.n_heads <= 2 * kLanes ? 2 * kLanes : 4 * kLanes;
  gram_matrix(split, &gram);
  float weights[kMaxEstimateHeads] = {};
  float factors[kMaxEstimateHeads] = {};
  float total = 0;  // trace of the scaled matrix
  for (size_t h = 0; h < split.n_heads; ++h) {
    weights[h] = split.weights[h];
    const float norm = __builtin_sqrtf(gram.row(h)[h]);
    const float size = __builtin_fabsf(weights[h]);
    total += size * norm;
    if (norm > 0) factors[h] = __builtin_sqrtf(size / norm);
  }
  if (!(total > 1e-15F && total < 1e15F)) return __builtin_inff();
  float products[kMaxEstimateHeads];
  const float centre = multiply_vector<false>(gram, weights, products);
  scale_matrix(factors, &gram);
  const float spread = total * eigenvalue_bound(gram, total);
  const float norms = __builtin_sqrtf((centre > 0 ? centre : 0) + kGramSlack * total * total) +
                      __builtin_sqrtf(spread);
  const float gain = 0.5F * norms * kGainSlack;
  return gain < 1e15F ? gain : __builtin_inff();
}

}  // namespace
}  // namespace dsa::kernels::avx512
