// Walks a row in whole vectors and one partial vector, with one body for both.
// Requires DSA_TIER and that tier's vec.h before inclusion.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsa::kernels::DSA_TIER {
namespace {

// Which lanes of a vector lie inside the row: all of them, or the first n.
struct Whole {};
struct First {
  size_t n;
};

inline F32 load(const float* p, Whole) {
  return load(p);
}
inline F32 load(const float* p, First part) {
  return load_first(p, part.n);
}
inline void store(float* p, F32 x, Whole) {
  store(p, x);
}
inline void store(float* p, F32 x, First part) {
  store_first(p, part.n, x);
}
inline U32 load(const uint8_t* p, Whole) {
  return load_u8(p);
}
inline U32 load(const uint8_t* p, First part) {
  return load_u8_first(p, part.n);
}
inline void store(uint8_t* p, U32 x, Whole) {
  store_u8(p, x);
}
inline void store(uint8_t* p, U32 x, First part) {
  store_u8_first(p, part.n, x);
}
inline U32 load(const uint16_t* p, Whole) {
  return load_u16(p);
}
inline U32 load(const uint16_t* p, First part) {
  return load_u16_first(p, part.n);
}
inline void store(uint16_t* p, U32 x, Whole) {
  store_u16(p, x);
}
inline void store(uint16_t* p, U32 x, First part) {
  store_u16_first(p, part.n, x);
}

// Lanes outside the row become `other`.
inline F32 keep(F32 x, F32, Whole) {
  return x;
}
inline F32 keep(F32 x, F32 other, First part) {
  float lanes[F32::kLanes];
  store(lanes, other);
  store_first(lanes, part.n, x);
  return load(lanes);
}

// body(i, part) for the vector that starts at element i.
template <class Body>
inline void for_each_vector(size_t n, Body body) {
  size_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes)
    body(i, Whole{});
  if (i < n) body(i, First{n - i});
}

// Sum over the row of the lanes of term(i, part), which must be 0 outside the row. Four
// accumulators, so that the additions need not wait for each other.
template <class Term>
inline float sum_row(size_t n, Term term) {
  F32 sums[4] = {zero(), zero(), zero(), zero()};
  size_t i = 0;
  for (; i + 4 * F32::kLanes <= n; i += 4 * F32::kLanes) {
    for (size_t s = 0; s < 4; ++s)
      sums[s] = add(sums[s], term(i + s * F32::kLanes, Whole{}));
  }
  for (; i + F32::kLanes <= n; i += F32::kLanes)
    sums[0] = add(sums[0], term(i, Whole{}));
  if (i < n) sums[1] = add(sums[1], term(i, First{n - i}));
  return reduce_add(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
