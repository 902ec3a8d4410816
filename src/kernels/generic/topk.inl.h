// Selection of the k best scores: find the cut, then emit in one pass.
//
// A cut is a threshold and, for scores equal to it, the index from which they count. To find it:
//   1. The scores form at least 2k interleaved groups. The k-th largest of the groups' maxima
//      cannot exceed the k-th largest score: it is a lower bound.
//   2. Scores above the bound are candidates: a few more than k on ordinary data, and never more
//      than scratch_capacity(). If fewer than k are above, the bound is the threshold.
//   3. Bisection over the keys of floats finds the threshold among the candidates.
// Values are compared as floats: -0 equals +0, and NaN is never above or equal to anything.
#pragma once

#include "kernels/generic/dot_tile.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr size_t kBitsBlock = 64;  // scores compared at a time, one bit each

// Selected: score > threshold, score == threshold at i >= first_equal, NaN at i >= first_nan.
// first_equal <= first_nan.
struct Cut {
  float threshold;
  size_t first_equal;
  size_t first_nan;
};

// Floats in the order of integers; both zeros are 0.
inline int32_t key_of(float x) noexcept {
  const int32_t bits = __builtin_bit_cast(int32_t, x);
  return bits < 0 ? -(bits & 0x7FFFFFFF) : bits;
}
inline float value_of(int32_t key) noexcept {
  const float magnitude = __builtin_bit_cast(float, key < 0 ? -key : key);
  return key < 0 ? -magnitude : magnitude;
}

// Comparisons of a vector with a threshold, lane i in bit i.
struct Above {
  static uint64_t bits(F32 x, F32 threshold) noexcept { return bits_above(x, threshold); }
};
struct AtLeast {
  static uint64_t bits(F32 x, F32 threshold) noexcept { return bits_at_least(x, threshold); }
};
struct NotBelow {  // NaN too
  static uint64_t bits(F32 x, F32 threshold) noexcept {
    return ~bits_above(threshold, x) & ((1ULL << kLanes) - 1);
  }
};
struct Equal {
  static uint64_t bits(F32 x, F32 threshold) noexcept {
    return bits_at_least(x, threshold) & bits_at_least(threshold, x);
  }
};
struct IsNan {
  static uint64_t bits(F32 x, F32) noexcept { return bits_nan(x); }
};

// Bits of x[0 .. n), n <= kBitsBlock.
template <class Predicate>
DSA_INLINE uint64_t block_bits(const float* x, size_t n, F32 threshold) noexcept {
  uint64_t bits = 0;
  if (n == kBitsBlock) {
    DSA_UNROLL
    for (size_t i = 0; i < kBitsBlock; i += kLanes) {
      bits |= Predicate::bits(load(x + i), threshold) << i;
    }
    return bits;
  }
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t count = n - i < kLanes ? n - i : kLanes;
    bits |= Predicate::bits(load_first(x + i, count), threshold) << i;
  }
  return bits & ((1ULL << n) - 1);  // lanes past the end compared as 0
}

template <class Body>
DSA_INLINE void for_each_block(size_t begin, size_t end, const Body& body) noexcept {
  size_t i = begin;
  for (; i + kBitsBlock <= end; i += kBitsBlock)
    body(i, kBitsBlock);
  if (i < end) body(i, end - i);
}

inline size_t count_at_least(const float* x, size_t n, float threshold) noexcept {
  const F32 limit = set(threshold);
  size_t count = 0;
  for_each_block(0, n, [&](size_t i, size_t block) {
    count += static_cast<size_t>(__builtin_popcountll(block_bits<AtLeast>(x + i, block, limit)));
  });
  return count;
}

// NaN aside; -inf when there is nothing else.
inline float largest(const float* x, size_t n) noexcept {
  F32 best = set(-__builtin_inff());
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    best = max(load(x + i), best);
  float result = reduce_max(best);
  for (; i < n; ++i)
    result = x[i] > result ? x[i] : result;
  return result;
}

// Indices of the scores above the threshold, ascending; returns how many. Writes them in fours, up
// to three past the last: most blocks hold one to four, and a loop over single bits would
// mispredict its end.
inline size_t find_above(const float* x, size_t n, float threshold, int32_t* out) noexcept {
  const F32 limit = set(threshold);
  size_t n_out = 0;
  for_each_block(0, n, [&](size_t begin, size_t block) {
    uint64_t bits = block_bits<Above>(x + begin, block, limit);
    if (bits == 0) return;
    const size_t count = static_cast<size_t>(__builtin_popcountll(bits));
    size_t i = 0;
    do {
      for (size_t j = 0; j < 4; ++j) {
        out[n_out + i + j] = static_cast<int32_t>(begin) + __builtin_ctzll(bits | 1ULL << 63);
        bits &= bits - 1;
      }
      i += 4;
    } while (i < count);
    n_out += count;
  });
  return n_out;
}

// Indices in [begin, end) whose score satisfies the predicate, ascending; returns how many.
template <class Predicate>
size_t emit(const float* x, size_t begin, size_t end, float threshold, int32_t* out) noexcept {
  const F32 limit = set(threshold);
  size_t n_out = 0;
  for_each_block(begin, end, [&](size_t i, size_t block) {
    const uint64_t bits = block_bits<Predicate>(x + i, block, limit);
    if (bits != 0) n_out += append_indices(bits, static_cast<int32_t>(i), out + n_out);
  });
  return n_out;
}

// Index from which on exactly `wanted` matches lie; 0 when there are no more than that.
// wanted is lowered to the number found.
template <class Predicate>
size_t start_of_last(const float* x, size_t n, float value, size_t* wanted) noexcept {
  const F32 limit = set(value);
  size_t found = 0;
  for (size_t end = n; end > 0;) {
    const size_t block = end % kBitsBlock == 0 ? kBitsBlock : end % kBitsBlock;
    uint64_t bits = block_bits<Predicate>(x + (end - block), block, limit);
    const size_t matches = static_cast<size_t>(__builtin_popcountll(bits));
    if (found + matches >= *wanted) {
      for (size_t extra = found + matches - *wanted; extra > 0; --extra)
        bits &= bits - 1;
      return bits == 0 ? end : end - block + static_cast<size_t>(__builtin_ctzll(bits));
    }
    found += matches;
    end -= block;
  }
  *wanted = found;
  return 0;
}

// `ties` scores equal to the threshold are wanted: the last ones. Where there are not enough of
// them (the threshold is -inf), the last NaN fill the rest.
inline Cut cut_with_ties(const float* x, size_t n, float threshold, size_t ties) noexcept {
  size_t equal = ties;
  Cut cut = {threshold, start_of_last<Equal>(x, n, threshold, &equal), n};
  if (equal < ties) {
    size_t rest = ties - equal;
    cut.first_nan = start_of_last<IsNan>(x, n, 0, &rest);
  }
  return cut;
}

struct Bound {
  float value;
  size_t count;  // of values at or above it
};

// The k-th largest of x, or another bound with exactly k values at or above it. low has at least k.
inline Bound kth_largest(const float* x, size_t n, size_t k, Bound low) noexcept {
  int64_t least = key_of(low.value);
  int64_t most = key_of(largest(x, n));
  size_t count = low.count;
  while (least < most && count > k) {
    const int64_t middle = least + (most - least + 1) / 2;
    const size_t above = count_at_least(x, n, value_of(static_cast<int32_t>(middle)));
    if (above >= k) {
      least = middle;
      count = above;
    } else {
      most = middle - 1;
    }
  }
  return {value_of(static_cast<int32_t>(least)), count};
}

// Number of interleaved groups; 0 when n is too small for groups to help. An odd multiple of the
// block: with a power of two the members of a group would share one set of a cache.
inline size_t group_count(size_t n, size_t k) noexcept {
  const size_t groups = ((2 * k + kBitsBlock - 1) / kBitsBlock | 1) * kBitsBlock;
  return n >= 4 * groups ? groups : 0;
}
// Room for the groups' maxima or for the candidates: scores above the bound lie in at most k of at
// least 2k groups, groups are at most n / 4, and find_above() writes up to three more. Grows with n
// and with k, so that scratch for the largest selection serves every other.
inline size_t scratch_capacity(size_t n, size_t k) noexcept {
  return n / 2 + (k < n ? k : n) + 3;
}

// maxima[g] = the largest of x[g], x[g + groups], ...; NaN aside.
inline void group_maxima(const float* x, size_t n, size_t groups, float* maxima) noexcept {
  for (size_t g = 0; g < groups; ++g)
    maxima[g] = -__builtin_inff();
  size_t begin = 0;
  for (; begin + 4 * groups <= n; begin += 4 * groups) {
    const float* row = x + begin;
    for (size_t g = 0; g < groups; g += kLanes) {
      const F32 a = max(load(row + g), load(maxima + g));
      const F32 b = max(load(row + groups + g), a);
      const F32 c = max(load(row + 2 * groups + g), b);
      store(maxima + g, max(load(row + 3 * groups + g), c));
    }
  }
  for (; begin < n; begin += groups) {
    const size_t length = n - begin < groups ? n - begin : groups;
    for (size_t g = 0; g < length; ++g) {
      maxima[g] = x[begin + g] > maxima[g] ? x[begin + g] : maxima[g];
    }
  }
}

// The cut that leaves the best k of x. low has at least k.
inline Cut exact_cut(const float* x, size_t n, size_t k, Bound low) noexcept {
  const Bound bound = kth_largest(x, n, k, low);
  if (bound.count == k) return {bound.value, 0, n};
  const size_t above = count_at_least(x, n, value_of(key_of(bound.value) + 1));
  return cut_with_ties(x, n, bound.value, k - above);
}

inline size_t emit_cut(const float* x, size_t n, const Cut& cut, int32_t* out) noexcept {
  size_t count = emit<Above>(x, 0, cut.first_equal, cut.threshold, out);
  count += emit<AtLeast>(x, cut.first_equal, cut.first_nan, cut.threshold, out + count);
  count += emit<NotBelow>(x, cut.first_nan, n, cut.threshold, out + count);
  return count;
}

constexpr float kLowest = -__builtin_inff();

// Without groups.
inline size_t select_directly(const float* x, size_t n, size_t k, int32_t* out) noexcept {
  const size_t ordered = count_at_least(x, n, kLowest);
  if (ordered >= k) return emit_cut(x, n, exact_cut(x, n, k, {kLowest, ordered}), out);
  const size_t above = count_at_least(x, n, -__FLT_MAX__);
  return emit_cut(x, n, cut_with_ties(x, n, kLowest, k - above), out);
}

struct TopKScratch {
  float* maxima;        // [scratch_capacity] of groups, then of candidates
  int32_t* candidates;  // [scratch_capacity] indices
};

inline size_t select_in_groups(
    const float* x, size_t n, size_t k, int32_t* out, const TopKScratch& scratch) noexcept {
  const size_t groups = group_count(n, k);
  group_maxima(x, n, groups, scratch.maxima);
  const Bound all = {kLowest, groups};
  const float low = kth_largest(scratch.maxima, groups, k, all).value;
  const size_t above = find_above(x, n, low, scratch.candidates);
  if (above < k) return emit_cut(x, n, cut_with_ties(x, n, low, k - above), out);
  float* values = scratch.maxima;
  for (size_t i = 0; i < above; ++i)
    values[i] = x[scratch.candidates[i]];
  const size_t count = emit_cut(values, above, exact_cut(values, above, k, {low, above}), out);
  for (size_t i = 0; i < count; ++i)
    out[i] = scratch.candidates[out[i]];
  return count;
}

size_t top_k_scratch_bytes(size_t n, size_t k) noexcept {
  return (sizeof(float) + sizeof(int32_t)) * scratch_capacity(n, k);
}

size_t top_k(const float* scores, size_t n, size_t k, int32_t* out, void* scratch) noexcept {
  if (k >= n) {
    for (size_t i = 0; i < n; ++i)
      out[i] = static_cast<int32_t>(i);
    return n;
  }
  if (k == 0) return 0;
  if (group_count(n, k) == 0) return select_directly(scores, n, k, out);
  float* values = static_cast<float*>(scratch);
  void* candidates = values + scratch_capacity(n, k);
  return select_in_groups(scores, n, k, out, {values, static_cast<int32_t*>(candidates)});
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
