// Scores of a list of keys, bit for bit those of score_range: every score depends on its query and
// its key alone. Requires DSA_TIER and that tier's tile.h before inclusion.
#pragma once

#include "kernels/generic/indexer_scores.inl.h"

namespace dsa::kernels::DSA_TIER {
namespace {

// Keys scattered over the pages.
struct KeyList {
  const uint8_t* keys[kRunKeys];
  float scales[kRunKeys];
  size_t n;
};

inline void gather_list(const IndexScoresArgs& args,
                        const int32_t* positions,
                        size_t n,
                        KeyList* list) noexcept {
  list->n = n;
  for (size_t i = 0; i < n; ++i) {
    const size_t position = static_cast<size_t>(positions[i]);
    const size_t slot = position % kPageTokens;
    const size_t page = static_cast<size_t>(args.pages[position / kPageTokens]);
    const uint8_t* base = args.base + page * args.page_stride;
    list->keys[i] = base + slot * args.layout.key_bytes();
    __builtin_memcpy(&list->scales[i], base + args.layout.scale_offset() + sizeof(float) * slot,
                     sizeof(float));
  }
}

// Keys: converted and scaled.
template <class Keys>
void score_list(const IndexScoresArgs& args, const int32_t* positions, size_t n) noexcept {
  using Dot = typename Keys::Dot;
  const size_t n_units = args.layout.dim / Dot::kPerUnit;
  const size_t longest = kRunUnits / n_units < kRunKeys ? kRunUnits / n_units : kRunKeys;
  const auto run_length = [=](size_t begin) { return n - begin < longest ? n - begin : longest; };
  alignas(64) float units[kRunUnits];
  alignas(64) float partial[kRunKeys * kLanes];
  KeyList lists[2];
  gather_list(args, positions, run_length(0), &lists[0]);
  for (size_t begin = 0, run = 0; begin < n; begin += longest, ++run) {
    const KeyList& list = lists[run % 2];
    KeyList& next = lists[(run + 1) % 2];
    for (size_t i = 0; i < list.n; ++i)
      Keys::convert(list.keys[i], args.layout.dim, units + i * n_units);
    const size_t done = begin + list.n;
    gather_list(args, positions + done, run_length(done), &next);
    Prefetch ahead = {next.keys, next.n, args.layout.key_bytes()};
    __builtin_memset(partial, 0, sizeof(partial));
    const BroadcastRows keys = {reinterpret_cast<const uint8_t*>(units), sizeof(float) * n_units,
                                sizeof(float)};
    score_run<Dot>(keys, list.n, static_cast<const float*>(args.queries[0]), args.n_heads, n_units,
                   ahead, partial);
    finish_scores(partial, list.scales, list.n, args.out + begin);
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
