// Counts and extents, which are int64_t in configurations and public types, as sizes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsa {

// value >= 0, which whoever read it has checked.
constexpr size_t as_size(int64_t value) {
  return static_cast<size_t>(value);
}

}  // namespace dsa
