// What a cache is made of: planes. A plane is what one layer keeps of the tokens it has seen, under
// a name of its own: latent rows, indexer keys, rows that stand for several tokens each, a state.
//
//   entries  one for every tokens_per_entry tokens. A page holds those of its tokens, placed as the
//            layer's layout says: the cache knows how many bytes they take and nothing else.
//   state    bytes of one size whatever the length: sums of a pool that is not complete, a
//            recurrence. A page holds the state after the last token written to it, so that a
//            sequence's state is in its last page, and every whole page can be gone on from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dsa {

struct Plane {
  int64_t layer = 0;
  std::string name;  // one of its layer's
  // Entries; it divides the tokens of a page.
  int64_t tokens_per_entry = 1;
  size_t bytes_per_page = 0;
  // A state; no entries then.
  size_t bytes_per_sequence = 0;

  bool is_state() const { return bytes_per_sequence != 0; }
  size_t stride() const { return is_state() ? bytes_per_sequence : bytes_per_page; }
};

// Bytes of a page in all planes of that name.
inline size_t page_bytes_of(std::span<const Plane> planes, std::string_view name) {
  size_t bytes = 0;
  for (const Plane& plane : planes)
    bytes += plane.name == name ? plane.stride() : 0;
  return bytes;
}

// A plane's memory: page p begins at base + p * stride.
struct PlaneView {
  uint8_t* base = nullptr;
  size_t stride = 0;

  uint8_t* page(int32_t number) const { return base + static_cast<size_t>(number) * stride; }
};

}  // namespace dsa
