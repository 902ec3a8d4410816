// Keys of the cache as the tiles want them: a run of a few at a time, those of the next run made
// ready while the tiles of this one compute. Requires DSA_TIER and that tier's tile.h before
// inclusion.
//
// Keys<format> comes from the tier:
//   Dot            what multiplies the units
//   kConverts      bytes of a key become units by convert(bytes, dim, units, extra) for one key;
//                  else they are units where they lie
//   kBeside        converts between the products of a tile: it has registers for both
//   kExtraUnits    floats that convert() writes to `extra`; those of a run follow each other
//   kScaled        keys have scales
//   kRunKeys       keys in a run, a multiple of kLanes: few enough that the query and two runs stay
//                  in the L1 cache
#pragma once

#include "kernels/generic/dot_tile.inl.h"
#include "kernels/indexer_kernels.h"

namespace dsa::kernels::DSA_TIER {
namespace {

constexpr size_t kRunUnits = 4096;

// What Keys are unless they say otherwise.
struct KeysInPlace {
  static constexpr bool kConverts = false;
  static constexpr bool kBeside = false;
  static constexpr size_t kExtraUnits = 0;
  static constexpr bool kScaled = false;
  static constexpr size_t kRunKeys = 32;
};

template <class Keys>
struct KeyRun {
  const uint8_t* keys[Keys::kRunKeys];
  const uint8_t* scale_bytes[Keys::kRunKeys];  // where scales has them from, when it is their turn
  alignas(64) float scales[Keys::kRunKeys];
  size_t n;

  DSA_INLINE void read_scales() noexcept {
    for (size_t i = 0; Keys::kScaled && i < n; ++i)
      __builtin_memcpy(scales + i, scale_bytes[i], sizeof(float));
  }
};

inline const uint8_t* page_of(const IndexScoresArgs& args, size_t position) noexcept {
  const size_t page = static_cast<size_t>(args.pages[args.layout.page.page(position)]);
  return args.base + page * args.page_stride;
}

// Keys [args.first, args.last); a run lies in one page.
struct RangeOfKeys {
  const IndexScoresArgs& args;

  template <class Keys>
  void take(size_t done, size_t longest, KeyRun<Keys>* run) const noexcept {
    const size_t position = args.first + done;
    run->n = 0;
    if (position >= args.last) return;
    const size_t slot = args.layout.page.slot(position);
    const size_t left = args.layout.page.tokens() - slot;
    run->n = left < longest ? left : longest;
    if (args.last - position < run->n) run->n = args.last - position;
    const uint8_t* page = page_of(args, position);
    for (size_t i = 0; i < run->n; ++i) {
      run->keys[i] = page + (slot + i) * args.layout.key_bytes();
      run->scale_bytes[i] = page + args.layout.scale_offset() + sizeof(float) * (slot + i);
    }
  }
};

// Keys at n positions in any order.
struct ListOfKeys {
  const IndexScoresArgs& args;
  const int32_t* positions;
  size_t n;

  template <class Keys>
  void take(size_t done, size_t longest, KeyRun<Keys>* run) const noexcept {
    run->n = n - done < longest ? n - done : longest;
    for (size_t i = 0; i < run->n; ++i) {
      const size_t position = static_cast<size_t>(positions[done + i]);
      const size_t slot = args.layout.page.slot(position);
      const uint8_t* page = page_of(args, position);
      run->keys[i] = page + slot * args.layout.key_bytes();
      run->scale_bytes[i] = page + args.layout.scale_offset() + sizeof(float) * slot;
    }
  }
};

// What the tiles of a run do during their products: a step at each unit, in which keys of the next
// run are made ready and those of the one after it are fetched.
template <class Keys>
class NextRun {
 public:
  NextRun(const IndexScoresArgs& args,
          const KeyRun<Keys>& run,
          const KeyRun<Keys>& later,
          float* units,
          float* extra) noexcept
      : run_(run),
        later_(later),
        key_bytes_(args.layout.key_bytes()),
        dim_(args.layout.dim),
        row_units_(dim_ / Keys::Dot::kPerUnit),
        units_(units),
        extra_(extra),
        ahead_{run.keys, run.n, key_bytes_} {
    // Even over the steps of one query's tiles.
    const size_t n_vectors = (args.n_heads + kLanes - 1) / kLanes;
    const size_t n_steps = row_units_ * n_vectors * Keys::kRunKeys / kTileAccumulators;
    interval_ = n_steps / Keys::kRunKeys + 1;
    wait_ = interval_;
  }

  DSA_INLINE void step() noexcept {
    if constexpr (Keys::kBeside) {
      if (--wait_ != 0) return;
      wait_ = interval_;
      if (done_ < run_.n) convert_next();
    } else {
      ahead_.step();
    }
  }

  void finish() noexcept {
    if constexpr (Keys::kConverts) {
      while (done_ < run_.n)
        convert_next();
    }
  }

 private:
  DSA_INLINE void convert_next() noexcept {
    if (Keys::kBeside && done_ < later_.n) {
      for (size_t offset = 0; offset < key_bytes_; offset += 64)
        __builtin_prefetch(later_.keys[done_] + offset, 0, 2);
      if (Keys::kScaled) __builtin_prefetch(later_.scale_bytes[done_], 0, 2);
    }
    Keys::convert(run_.keys[done_], dim_, units_ + done_ * row_units_,
                  extra_ + done_ * Keys::kExtraUnits);
    ++done_;
  }

  const KeyRun<Keys>& run_;
  const KeyRun<Keys>& later_;
  size_t key_bytes_;
  size_t dim_;
  size_t row_units_;
  float* units_;
  float* extra_;
  Prefetch ahead_;
  size_t done_ = 0;
  size_t interval_ = 0;
  size_t wait_ = 0;
};

// body(rows, extra, run, done, next) for runs of the source's keys; `done` were in earlier runs.
template <class Keys, class Source, class Body>
DSA_INLINE void for_each_run(const IndexScoresArgs& args,
                             const Source& source,
                             const Body& body) noexcept {
  const IndexKeyLayout& layout = args.layout;
  const size_t row_units = layout.dim / Keys::Dot::kPerUnit;
  const size_t longest = Keys::kConverts && kRunUnits / row_units < Keys::kRunKeys
                             ? kRunUnits / row_units
                             : Keys::kRunKeys;
  alignas(64) float units[2][Keys::kConverts ? kRunUnits : 1];
  alignas(64) float extra[2][Keys::kRunKeys * Keys::kExtraUnits + kLanes];
  KeyRun<Keys> runs[3];  // at hand, being converted, being fetched
  source.take(0, longest, &runs[0]);
  source.take(runs[0].n, longest, &runs[1]);
  NextRun<Keys>(args, runs[0], runs[1], units[0], extra[0]).finish();
  size_t done = 0;
  for (size_t i = 0, at = 0; runs[at].n != 0; i = 1 - i, at = (at + 1) % 3) {
    KeyRun<Keys>& run = runs[at];
    const KeyRun<Keys>& after = runs[(at + 1) % 3];
    KeyRun<Keys>& later = runs[(at + 2) % 3];
    run.read_scales();
    source.take(done + run.n + after.n, longest, &later);
    NextRun<Keys> next(args, after, later, units[1 - i], extra[1 - i]);
    BroadcastRows rows = {run.keys[0], layout.key_bytes(), sizeof(float)};
    if constexpr (Keys::kConverts) {
      rows = {reinterpret_cast<const uint8_t*>(units[i]), sizeof(float) * row_units, sizeof(float)};
    }
    body(rows, extra[i], run, done, next);
    next.finish();
    done += run.n;
  }
}

}  // namespace
}  // namespace dsa::kernels::DSA_TIER
